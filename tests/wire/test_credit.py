"""Credit: the sender never exceeds the window, and the receiver notices if it does."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wire_helpers import quick

from actorsys.errors import RemoteProtocolError
from actorsys.wire import ReceiveWindow, SendCredit


def test_a_sender_starts_with_a_whole_window() -> None:
    credit = SendCredit(100)
    credit.spend(30)
    assert credit.available == 70
    credit.grant(20)
    assert credit.available == 90


def test_one_frame_may_take_the_credit_below_zero() -> None:
    credit = SendCredit(10)
    credit.spend(1000)
    assert credit.available == -990


def test_an_item_larger_than_the_window_is_received() -> None:
    window = ReceiveWindow(100)
    window.receive(1_000_000)
    assert window.consume(1_000_000) == 1_000_000
    window.receive(1)


def test_a_frame_beyond_the_window_breaks_the_protocol() -> None:
    window = ReceiveWindow(100)
    window.receive(60)
    window.receive(60)
    with pytest.raises(RemoteProtocolError, match="more than it was granted"):
        window.receive(1)


def test_the_window_is_full_at_exactly_its_size() -> None:
    window = ReceiveWindow(100)
    window.receive(100)
    with pytest.raises(RemoteProtocolError):
        window.receive(1)


def test_grants_are_saved_up_to_half_a_window() -> None:
    window = ReceiveWindow(100)
    window.receive(90)
    assert window.consume(30) == 0
    assert window.consume(19) == 0
    assert window.consume(1) == 50
    assert window.consume(40) == 0


def test_what_is_granted_may_be_sent_again() -> None:
    window = ReceiveWindow(100)
    window.receive(100)
    assert window.consume(50) == 50
    window.receive(1)


@quick
@given(
    st.integers(1, 1000),
    st.lists(st.integers(1, 600), max_size=60),
    st.lists(st.booleans(), max_size=150),
)
def test_two_honest_ends_always_agree(window: int, sizes: list[int], turns: list[bool]) -> None:
    """Whatever the order of sending, reading and granting, nobody is stuck or accused."""
    credit, receiver = SendCredit(window), ReceiveWindow(window)
    waiting, unread = list(sizes), []
    for sends in turns:
        if sends and waiting and credit.available > 0:
            unread.append(waiting.pop())
            credit.spend(unread[-1])
            receiver.receive(unread[-1])
        elif not sends and unread:
            credit.grant(receiver.consume(unread.pop(0)))
        assert sum(unread) < window + 600
    while unread:
        credit.grant(receiver.consume(unread.pop(0)))
    assert credit.available > 0
