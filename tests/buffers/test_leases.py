"""Leases: each is pending, accepted, and over once; a buffer is let go with its last one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle as Drawn
from hypothesis.stateful import (
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    precondition,
    rule,
)

from actorsys.buffers.leases import LeaseState, Ledger
from actorsys.errors import RemoteProtocolError


class FakeHolding:
    """Counts its users."""

    def __init__(self) -> None:
        self.users = 0

    def grab(self) -> None:
        self.users += 1

    def drop(self) -> None:
        self.users -= 1


class FakeChannel:
    """Keeps the notes that were sent, once the tick ends."""

    def __init__(self) -> None:
        self.notes: list[dict[str, list[int]]] = []
        self.waiting: list[Any] = []

    def join_next_write(self, ledger: Any) -> None:
        self.waiting.append(ledger)

    def send_runtime_call(self, name: str, note: dict[str, list[int]]) -> None:
        assert name == "buffers"
        self.notes.append(note)

    def end_tick(self) -> None:
        while self.waiting:
            self.waiting.pop().end_tick()


def new_ledger() -> tuple[Any, FakeChannel]:
    channel = FakeChannel()
    ledger: Any = Ledger(channel, lambda: None)  # type: ignore[arg-type]
    return ledger, channel


HOSTILE: list[Any] = [-1, 10**9, 2**200, None, True, 0.0, "0", b"0", [], {}]


class Lender(RuleBasedStateMachine):
    """A ledger against a table of what was lent."""

    leases = Drawn("leases")

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.channel = new_ledger()
        self.holdings = [FakeHolding() for _ in range(3)]
        self.model: dict[int, tuple[int, LeaseState]] = {}
        self.is_closed = False

    @precondition(lambda self: not self.is_closed)
    @rule(target=leases, which=st.integers(0, 2))
    def lend(self, which: int) -> Any:
        lease = self.ledger.lend(self.holdings[which])
        assert lease.number not in self.model
        self.model[lease.number] = which, LeaseState.PENDING
        return lease

    @rule(lease=consumes(leases))
    def take_back(self, lease: Any) -> None:
        if self.model.get(lease.number, (0, None))[1] is not LeaseState.PENDING:
            return
        del self.model[lease.number]
        self.ledger.take_back(lease)
        self.ledger.take_back(lease)
        assert lease.state is LeaseState.RELEASED

    @rule(target=leases, lease=consumes(leases))
    def accept(self, lease: Any) -> Any:
        which, state = self.model.get(lease.number, (0, None))
        if state is not LeaseState.PENDING:
            return multiple()
        self.ledger.on_note({"accepted": [lease.number], "released": []})
        self.model[lease.number] = which, LeaseState.ACCEPTED
        return lease

    @rule(lease=consumes(leases), is_accepted_too=st.booleans())
    def release(self, lease: Any, is_accepted_too: bool) -> None:
        if lease.number not in self.model:
            return
        _, state = self.model.pop(lease.number)
        is_new = is_accepted_too and state is LeaseState.PENDING
        self.ledger.on_note(
            {"accepted": [lease.number] if is_new else [], "released": [lease.number]}
        )
        assert lease.state is LeaseState.RELEASED

    @rule(number=st.sampled_from(HOSTILE), key=st.sampled_from(["accepted", "released"]))
    def be_told_nonsense(self, number: Any, key: str) -> None:
        with pytest.raises(RemoteProtocolError):
            self.ledger.on_note({key: [number]})

    @rule(lease=leases)
    def be_told_of_what_is_over(self, lease: Any) -> None:
        state = self.model.get(lease.number, (0, None))[1]
        if state is LeaseState.PENDING:
            return
        with pytest.raises(RemoteProtocolError):
            self.ledger.on_note({"accepted": [lease.number]})
        if state is None:
            with pytest.raises(RemoteProtocolError):
                self.ledger.on_note({"released": [lease.number]})

    @rule(note=st.sampled_from([{}, {"accepted": [], "released": []}, {"other": [1]}]))
    def be_told_nothing(self, note: dict[str, Any]) -> None:
        self.ledger.on_note(note)

    @rule()
    def revoke(self) -> None:
        self.ledger.close()
        self.ledger.close()
        self.model.clear()
        self.is_closed = True

    @invariant()
    def agrees(self) -> None:
        states = [state for _, state in self.model.values()]
        assert sorted(s.value for s in self.ledger.states()) == sorted(s.value for s in states)
        for which, holding in enumerate(self.holdings):
            assert holding.users == sum(w == which for w, _ in self.model.values())
        assert not self.channel.notes


class Borrower(RuleBasedStateMachine):
    """What a borrower tells: each lease is accepted at most once, and released once."""

    def __init__(self) -> None:
        super().__init__()
        self.ledger, self.channel = new_ledger()
        self.number = 0
        self.held: list[int] = []
        self.accepted: set[int] = set()
        self.released: set[int] = set()

    @rule()
    def accept(self) -> None:
        self.ledger.accept(self.number)
        self.held.append(self.number)
        self.number += 1

    @rule()
    def could_not_open(self) -> None:
        self.ledger.give_back(self.number)
        self.released.add(self.number)
        self.number += 1

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def give_back(self, data: Any) -> None:
        number = self.held.pop(data.draw(st.integers(0, len(self.held) - 1)))
        self.ledger.give_back(number)
        self.released.add(number)

    @rule()
    def end_tick(self) -> None:
        self.channel.end_tick()
        accepted = [n for note in self.channel.notes for n in note["accepted"]]
        released = [n for note in self.channel.notes for n in note["released"]]
        assert len(set(accepted)) == len(accepted)
        assert sorted(released) == sorted(self.released)
        assert set(self.held) <= set(accepted) <= set(range(self.number))

    def teardown(self) -> None:
        self.end_tick()


BRIEF = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestLender = Lender.TestCase
TestLender.settings = BRIEF
TestBorrower = Borrower.TestCase
TestBorrower.settings = BRIEF


def test_a_note_twice_in_one_releases_once() -> None:
    ledger, _ = new_ledger()
    holding = FakeHolding()
    first, second = ledger.lend(holding), ledger.lend(holding)
    with pytest.raises(RemoteProtocolError):
        ledger.on_note({"released": [first.number, first.number]})
    assert holding.users == 1
    with pytest.raises(RemoteProtocolError):
        ledger.on_note({"accepted": [second.number, second.number]})
    assert holding.users == 1
    ledger.close()
    assert holding.users == 0
    assert second.state is LeaseState.REVOKED


def test_nothing_is_told_once_the_link_has_ended() -> None:
    ledger, channel = new_ledger()
    ledger.accept(0)
    ledger.close()
    channel.end_tick()
    ledger.give_back(0)
    channel.end_tick()
    assert channel.notes == []
