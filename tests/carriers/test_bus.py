"""What a carrier promises, over a bus in one asyncio loop: the same code as between processes."""

from __future__ import annotations

import asyncio
import random
import time
import uuid
from typing import Any

import numpy as np
import pytest
from carrier_helpers import Answering, Doing, Failing, PingPong, Recorder, on_asyncio, open_bus

from actorsys import EncodeError, LimitExceeded, Limits, RemoteActorError
from actorsys.carriers import (
    BudgetExceeded,
    Bus,
    BusCarrier,
    Carrier,
    CarrierOverflow,
    EventWithValue,
    RunEnded,
    UnknownParticipant,
)


@on_asyncio
async def test_a_message_comes_with_its_sender_and_an_id() -> None:
    async with open_bus(None, None) as (bus, (one, two)):
        one.send_to_other("hello", 2, {"round": 3})
        await bus.quiescent()
        content, meta = two.algorithm.received[0]
        assert (content, meta["sender"], meta["round"]) == ("hello", 1, 3)
        assert isinstance(meta["message_id"], uuid.UUID)


@on_asyncio
async def test_others_are_in_order_without_oneself() -> None:
    async with open_bus(None, None, None) as (_, (_, two, _)):
        assert two.others("whatever") == [1, 3]
        assert two.get_address() == 2


@on_asyncio
async def test_others_is_quick() -> None:
    async with open_bus(*[None] * 10) as (_, carriers):
        before = time.perf_counter()
        for _ in range(10_000):
            carriers[0].others("")
        assert time.perf_counter() - before < 1


@on_asyncio
async def test_replies_find_their_requests_in_whatever_order_they_come() -> None:
    chance = random.Random(11)

    async def answer_late(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await asyncio.sleep(chance.random() / 100)
        await carrier.reply_to_other(content + 1000, meta)

    async with open_bus(None, *[Doing(answer_late) for _ in range(4)]) as (bus, (one, *_)):
        futures = [one.send_awaitable(number, 2 + number % 4) for number in range(200)]
        assert await asyncio.gather(*futures) == [*range(1000, 1200)]
        await bus.quiescent()
        assert len(one._replies) == 0
        assert bus.statistics()[:4] == (200, 200, 200, 0)


@on_asyncio
async def test_a_second_reply_is_dropped_and_counted() -> None:
    async def answer_twice(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        carrier.reply_to_other("first", meta)
        carrier.reply_to_other("second", meta)

    async with open_bus(None, Doing(answer_twice)) as (bus, (one, _)):
        assert await one.send_awaitable("?", 2) == "first"
        await bus.quiescent()
        assert bus.statistics().dropped_replies == 1


@on_asyncio
async def test_a_reply_to_a_request_that_was_cancelled_is_dropped_and_counted() -> None:
    go_on = asyncio.Event()

    async def answer_later(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        await go_on.wait()
        carrier.reply_to_other("late", meta)

    async with open_bus(None, Doing(answer_later)) as (bus, (one, _)):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(one.send_awaitable("?", 2), 0.01)
        assert len(one._replies) == 0
        go_on.set()
        await bus.quiescent()
        assert bus.statistics().dropped_replies == 1


@on_asyncio
async def test_meta_that_was_kept_can_be_answered_from_another_task() -> None:
    kept: list[dict[str, Any]] = []

    async def keep(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        kept.append(dict(meta))

    async with open_bus(None, Doing(keep)) as (bus, (one, two)):
        future = one.send_awaitable("?", 2)
        await bus.quiescent()
        assert not two._asked  # nothing is kept for it meanwhile

        async def answer() -> None:
            two.reply_to_other("at last", kept[0])

        await asyncio.create_task(answer())
        assert await future == "at last"


@on_asyncio
async def test_a_reply_to_a_one_way_message_comes_from_the_replier() -> None:
    one, two = PingPong(), PingPong()
    async with open_bus(one, two) as (bus, _):
        await bus.start(0)
        await bus.quiescent()
        assert (one.received, set(one.senders)) == ([1, 3, 5, 7, 9], {2})
        assert (two.received, set(two.senders)) == ([0, 2, 4, 6, 8, 10], {1})


@on_asyncio
async def test_a_request_to_oneself_is_handled_by_oneself() -> None:
    async with open_bus(Answering()) as (_, (one,)):
        assert await one.send_awaitable(21, 1) == 42


@pytest.mark.parametrize("receiver", [0, -1, 3, "2", None, True])
def test_an_unknown_receiver_is_refused_at_once(receiver: Any) -> None:
    @on_asyncio
    async def refuse() -> None:
        async with open_bus(None, None) as (bus, (one, _)):
            for send in (one.send_to_other, one.send_awaitable):
                with pytest.raises(UnknownParticipant, match=r"there are 1, 2"):
                    send("x", receiver)
            await asyncio.sleep(0)
            assert (bus.in_flight, len(one._replies)) == (0, 0)

    refuse()


@on_asyncio
async def test_mutual_requests_from_handlers_do_not_block_each_other() -> None:
    async def ask_back(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content > 0:
            answer = await carrier.send_awaitable(content - 1, meta["sender"])
            carrier.reply_to_other([content, *answer], meta)
        else:
            carrier.reply_to_other([0], meta)

    for delivery in ("concurrent", "sequenced"):
        async with open_bus(Doing(ask_back), Doing(ask_back), delivery=delivery) as (_, (one, two)):
            answers = asyncio.gather(one.send_awaitable(5, 2), two.send_awaitable(5, 1))
            assert await answers == [[5, 4, 3, 2, 1, 0]] * 2


@on_asyncio
async def test_handlers_start_in_order_and_interleave_where_they_wait() -> None:
    events: list[str] = []

    async def wait_inside(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        events.append(f"in {content}")
        await asyncio.sleep(0.01)
        events.append(f"out {content}")

    async with open_bus(None, Doing(wait_inside)) as (bus, (one, _)):
        one.send_to_other(1, 2)
        one.send_to_other(2, 2)
        await bus.quiescent()
    assert events == ["in 1", "in 2", "out 1", "out 2"]


@on_asyncio
async def test_sequenced_handlers_do_not_interleave() -> None:
    events: list[str] = []

    async def wait_inside(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        events.append(f"in {content}")
        await asyncio.sleep(0)
        events.append(f"out {content}")

    handling = Doing(wait_inside)
    async with open_bus(None, handling, handling, delivery="sequenced") as (bus, (one, *_)):
        one.send_to_other(1, 2)
        one.send_to_other(2, 3)
        await bus.quiescent()
    assert events == ["in 1", "out 1", "in 2", "out 2"]


@on_asyncio
async def test_sequenced_waits_for_a_handler_that_has_given_its_request_up() -> None:
    events: list[str] = []

    async def give_up(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(carrier.send_awaitable("?", 1), 0.01)
        carrier.send_to_other("!", 1)
        await asyncio.sleep(0.02)
        events.append("done")

    async def note(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        events.append(content)

    async with open_bus(Doing(note), Doing(give_up), delivery="sequenced") as (bus, _):
        await bus.start("go")
        await bus.quiescent()
    assert events == ["?", "done", "!"]


@on_asyncio
async def test_content_is_what_it_was_when_it_was_sent() -> None:
    async with open_bus(None, None) as (bus, (one, two)):
        content = [1]
        one.send_to_other(content, 2)
        content.append(2)
        await bus.quiescent()
        assert two.algorithm.received[0][0] == [1]


@on_asyncio
async def test_a_content_that_cannot_travel_is_refused_at_the_sender() -> None:
    class Own:
        pass

    async with open_bus(None, None, limits=Limits(max_message_bytes=2048)) as (bus, (one, two)):
        with pytest.raises(EncodeError, match=r"Own cannot travel"):
            one.send_to_other({"a": Own()}, 2)
        with pytest.raises(EncodeError, match=r"Own cannot travel"):
            one.send_awaitable(1, 2, {"mine": Own()})
        with pytest.raises(LimitExceeded):
            one.send_to_other(bytes(4096), 2)
        assert len(one._replies) == 0
        one.send_to_other("still there", 2)
        await bus.quiescent()
        assert len(two.algorithm.received) == 1


@on_asyncio
async def test_an_error_of_a_handler_rejects_the_request() -> None:
    async with open_bus(None, Failing()) as (bus, (one, _)):
        with pytest.raises(ZeroDivisionError, match="cannot handle 3") as caught:
            await one.send_awaitable(3, 2)
        assert isinstance(caught.value, RemoteActorError)
        assert "on_exchange_message" in caught.value.tb_str
        await bus.quiescent()


@on_asyncio
async def test_an_error_after_the_reply_fails_the_run() -> None:
    async def fail_late(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        carrier.reply_to_other("fine", meta)
        raise KeyError("afterwards")

    async with open_bus(None, Doing(fail_late)) as (bus, (one, _)):
        assert await one.send_awaitable(3, 2) == "fine"
        with pytest.raises(KeyError, match="afterwards"):
            await bus.quiescent()


ERRORS = {"error": ZeroDivisionError(), "exit": SystemExit(3), "interrupt": KeyboardInterrupt()}


@pytest.mark.parametrize("kind", ERRORS)
def test_an_error_of_a_one_way_handler_fails_the_run(kind: str) -> None:
    async def fail(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        raise ERRORS[kind]

    @on_asyncio
    async def run() -> None:
        async with open_bus(None, Doing(fail)) as (bus, _):
            await bus.start(1)
            with pytest.raises(type(ERRORS[kind])):
                await bus.quiescent()

    run()


@on_asyncio
async def test_a_handler_that_cancels_itself_does_not_look_handled() -> None:
    async def cancel(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        raise asyncio.CancelledError

    async with open_bus(None, Doing(cancel)) as (bus, (one, _)):
        with pytest.raises(RemoteActorError, match="cancelled by code of its own"):
            await one.send_awaitable(3, 2)
        one.send_to_other(1, 2)
        with pytest.raises(Exception, match="cancelled by code of its own"):
            await bus.quiescent()


@on_asyncio
async def test_a_participant_without_a_handler_says_so() -> None:
    async with open_bus(None, object()) as (_, (one, _)):
        with pytest.raises(RemoteActorError, match="has no on_exchange_message"):
            await one.send_awaitable(3, 2)


@on_asyncio
async def test_quiescence_waits_for_a_handler_that_sends_late() -> None:
    async def send_late(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content:
            await asyncio.sleep(0.05)
            carrier.send_to_other(content - 1, meta["sender"])

    one, two = Doing(send_late), Doing(send_late)
    async with open_bus(one, two) as (bus, _):
        for burst in (1, 2):
            await bus.start(3)
            await bus.quiescent()
            assert len(one.received) + len(two.received) == 4 * burst
            assert bus.in_flight == 0


@on_asyncio
async def test_a_bus_without_messages_is_quiescent() -> None:
    async with open_bus(None) as (bus, _):
        await bus.quiescent()


@on_asyncio
async def test_quiescence_comes_after_the_last_of_a_tree_of_messages() -> None:
    seed = random.randrange(10**6)
    chance = random.Random(seed)
    handled = 0

    async def branch(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        nonlocal handled
        if chance.random() < 0.3:
            await asyncio.sleep(chance.random() / 1000)
        for _ in range(chance.randrange(3) if content else 0):
            carrier.send_to_other(content - 1, chance.choice(carrier.others("")))
        handled += 1

    for _ in range(90):
        handled = 0
        async with open_bus(*[Doing(branch) for _ in range(4)]) as (bus, _):
            await bus.start(5)
            await bus.quiescent()
            assert handled == bus.statistics().messages, f"seed {seed}"
            await asyncio.sleep(0.002)
            assert handled == bus.statistics().messages, f"seed {seed}"


@on_asyncio
async def test_a_hold_keeps_the_run_open_beyond_its_handler() -> None:
    go_on = asyncio.Event()

    async def leave_a_task(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        hold = carrier.hold()

        async def send_later() -> None:
            with hold:
                await go_on.wait()
                carrier.send_to_other("later", 1)

        tasks.append(asyncio.create_task(send_later()))

    tasks: list[asyncio.Task[None]] = []
    async with open_bus(None, Doing(leave_a_task)) as (bus, (one, _)):
        await bus.start("now")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(bus.quiescent(), 0.02)
        go_on.set()
        await bus.quiescent()
        assert one.algorithm.received[0][0] == "later"


@on_asyncio
async def test_what_is_scheduled_counts_until_it_has_run() -> None:
    async with open_bus(None, None) as (bus, (one, two)):
        one.schedule_using(lambda: one.send_to_other("scheduled", 2) and None, 0.02)
        await bus.quiescent()
        assert two.algorithm.received[0][0] == "scheduled"


@on_asyncio
async def test_what_was_scheduled_can_be_cancelled() -> None:
    async with open_bus(None) as (bus, (one,)):
        one.schedule_using(lambda: None, 60).cancel()
        await bus.quiescent()


@on_asyncio
async def test_an_error_of_what_is_scheduled_fails_the_run() -> None:
    async with open_bus(None) as (bus, (one,)):
        one.schedule_using(lambda: [][0], 0)
        with pytest.raises(IndexError):
            await bus.quiescent()


@on_asyncio
async def test_wait_for_takes_futures_and_events_with_a_value() -> None:
    async with open_bus(None, Answering()) as (_, (one, _)):
        assert await one.wait_for(one.send_awaitable(2, 2)) == 4
        event = EventWithValue()
        asyncio.get_running_loop().call_soon(event.set, "value")
        assert await one.wait_for(event) == "value"


@on_asyncio
async def test_sends_of_eight_threads_arrive_once_and_in_the_order_of_each() -> None:
    async with open_bus(None, Recorder()) as (bus, (one, two)):

        def send(thread: int) -> None:
            for number in range(500):
                one.send_to_other((thread, number), 2)

        with one.hold():
            await asyncio.gather(*[asyncio.to_thread(send, each) for each in range(8)])
        await bus.quiescent()
        received = two.algorithm.received
        assert len(received) == 4000
        for thread in range(8):
            assert [n for t, n in received if t == thread] == [*range(500)]


@on_asyncio
async def test_a_thread_gets_futures_it_can_wait_for() -> None:
    async with open_bus(None, Answering()) as (_, (one, _)):

        def ask() -> Any:
            one.send_to_other(1, 2).result(5)
            return one.send_awaitable(4, 2).result(5)

        assert await asyncio.to_thread(ask) == 8


@on_asyncio
async def test_an_awaited_sender_does_not_run_ahead_of_a_slow_receiver() -> None:
    most = 0

    async def be_slow(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        nonlocal most
        most = max(most, bus.statistics().in_flight)
        await asyncio.sleep(0)

    limits = Limits(carrier_credit_frames=16)
    async with open_bus(None, Doing(be_slow), limits=limits) as (bus, (one, two)):
        for number in range(500):
            await one.send_to_other(number, 2)
        await bus.quiescent()
        assert two.algorithm.received == [*range(500)]
        assert most <= 2 * 16 + 1


@pytest.mark.parametrize("delivery", ["concurrent", "sequenced"])
def test_a_handler_may_wait_until_what_it_sends_is_accepted(delivery: Any) -> None:
    async def pass_on(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content:
            await carrier.send_to_other(content - 1, carrier.others("")[0])

    @on_asyncio
    async def run() -> None:
        one, two = Doing(pass_on), Doing(pass_on)
        async with open_bus(one, two, delivery=delivery) as (bus, _):
            await bus.start(20)
            await bus.quiescent()
            assert one.received + two.received == [*range(19, 0, -2), *range(20, -1, -2)]

    run()


@on_asyncio
async def test_a_sender_that_does_not_wait_is_stopped_by_a_hard_cap() -> None:
    limits = Limits(carrier_credit_frames=4, carrier_queue_frames=10)
    async with open_bus(None, None, limits=limits) as (bus, (one, two)):
        with pytest.raises(CarrierOverflow, match="await what send_to_other returns"):
            for number in range(100):
                one.send_to_other(number, 2)
        await bus.quiescent()
        assert [content for content, _ in two.algorithm.received] == [*range(14)]


@on_asyncio
async def test_the_end_rejects_requests_and_cancels_handlers() -> None:
    cleaned = []

    async def hang(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        try:
            await asyncio.sleep(60)
        finally:
            cleaned.append(content)

    async with open_bus(None, Doing(hang)) as (_, (one, _)):
        future = one.send_awaitable("?", 2)
        await asyncio.sleep(0.01)
    with pytest.raises(RunEnded):
        await future
    assert cleaned == ["?"]
    with pytest.raises(RunEnded):
        one.send_to_other("too late", 2)


@on_asyncio
async def test_an_address_is_taken_once() -> None:
    async with open_bus(None) as (bus, _):
        with pytest.raises(ValueError, match="address 1 is taken"):
            BusCarrier(1, bus)
    with pytest.raises(TypeError, match=r"carriers\.Bus"):
        BusCarrier(1, {})  # type: ignore[arg-type]


def test_a_class_with_the_five_methods_is_a_carrier() -> None:
    class Own(Carrier):
        def send_to_other(self, content: Any, receiver: Any, meta: Any = None) -> Any: ...
        def reply_to_other(self, content: Any, meta: Any) -> Any: ...
        def send_awaitable(self, content: Any, receiver: Any, meta: Any = None) -> Any: ...
        def others(self, participant_id: Any) -> Any: ...
        def get_address(self) -> Any: ...

    Own()
    assert issubclass(BusCarrier, Carrier)


@on_asyncio
async def test_a_send_that_nobody_awaits_warns_of_nothing() -> None:
    reports: list[Any] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, report: reports.append(report))
    bus = Bus()
    one, _ = BusCarrier(1, bus), BusCarrier(2, bus, Failing())
    one.send_to_other(1, 2)
    one.send_awaitable(1, 2).add_done_callback(lambda future: future.exception())
    with pytest.raises(ZeroDivisionError):
        await bus.quiescent()
    await bus.aclose()
    assert reports == []


REPLIES: dict[str, tuple[Any, type[Exception]]] = {
    "no value": (object(), EncodeError),
    "too large": (bytes(1 << 20), LimitExceeded),
}


@pytest.mark.parametrize("name", REPLIES)
def test_a_reply_that_cannot_be_sent_is_an_error_of_its_request(name: str) -> None:
    reply, kind = REPLIES[name]

    async def answer(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        carrier.reply_to_other(reply, meta)

    @on_asyncio
    async def ask() -> None:
        limits = Limits(max_message_bytes=1 << 16)
        async with open_bus(None, Doing(answer), limits=limits) as (bus, (one, _)):
            with pytest.raises(kind):
                await one.send_awaitable("?", 2)
            await bus.quiescent()

    ask()


class Odd:
    def __eq__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


ODD_RECEIVERS: dict[str, Any] = {
    "float": 2.0,
    "complex": 2 + 0j,
    "array": np.array([2, 1]),
    "list": [2],
    "equal to all": Odd(),
}


@pytest.mark.parametrize("name", ODD_RECEIVERS)
def test_what_is_only_equal_to_an_address_is_none(name: str) -> None:
    @on_asyncio
    async def refuse() -> None:
        async with open_bus(None, None) as (_, (one, _)):
            with pytest.raises(UnknownParticipant, match=r"there are 1, 2"):
                one.send_to_other("x", ODD_RECEIVERS[name])

    refuse()


@on_asyncio
async def test_an_address_may_be_a_number_of_numpy() -> None:
    async with open_bus(None, Answering()) as (_, (one, _)):
        assert await one.send_awaitable(1, np.random.default_rng(1).choice(one.others(""))) == 2


@on_asyncio
async def test_a_coordination_ends_with_the_failure_of_its_run() -> None:
    class Waiting:
        async def start_optimization(self, carrier: Any, content: Any, meta: Any) -> None:
            carrier.send_to_other(content, 2)
            await asyncio.get_running_loop().create_future()

    async with open_bus(Waiting(), Failing()) as (bus, (one, _)):
        with pytest.raises(ZeroDivisionError, match="cannot handle 1"):
            await bus.coordinate(1, one)
        with pytest.raises(ZeroDivisionError):
            await bus.start(1)


@on_asyncio
async def test_an_error_of_the_coordinator_is_its_callers() -> None:
    class Raising:
        async def start_optimization(self, carrier: Any, content: Any, meta: Any) -> Any:
            return content[0]

    async with open_bus(Raising()) as (bus, (one,)):
        with pytest.raises(IndexError):
            await bus.coordinate([], one)
        assert await bus.coordinate([7], one) == 7
        await bus.quiescent()


@on_asyncio
async def test_a_bus_has_a_budget_of_messages() -> None:
    async with open_bus(PingPong(), PingPong(), max_messages=5) as (bus, _):
        await bus.start(0)
        with pytest.raises(BudgetExceeded, match="5 messages"):
            await bus.quiescent()


@on_asyncio
async def test_a_bus_refuses_what_a_run_refuses() -> None:
    with pytest.raises(ValueError, match="concurrent"):
        Bus(delivery="nonsense")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="max_messages"):
        Bus(max_messages=-1)
    with pytest.raises(TypeError, match="whole number"):
        BusCarrier("one", Bus())  # type: ignore[arg-type]
    async with open_bus(None) as (bus, _):
        with pytest.raises(ValueError, match="there is 1"):
            await bus.start(0)


@on_asyncio
async def test_an_error_that_nobody_was_told_of_comes_with_the_end_of_the_bus() -> None:
    bus = Bus()
    BusCarrier(1, bus), BusCarrier(2, bus, Failing())
    await bus.start(1)
    while bus.in_flight and bus._failure.error is None:
        await asyncio.sleep(0)
    with pytest.raises(ZeroDivisionError):
        await bus.aclose()


@on_asyncio
async def test_an_error_of_what_is_scheduled_does_not_look_like_the_end() -> None:
    async with open_bus(None) as (bus, (one,)):
        one.schedule_using(lambda: [][0], 0)
        with pytest.raises(IndexError):
            await bus.quiescent()
        assert bus.in_flight == 1


@on_asyncio
async def test_meta_of_ones_own_does_not_disturb_replies() -> None:
    mine = {"reply_to": "mine", "reply": 1}
    async with open_bus(None, Answering()) as (_, (one, _)):
        assert await one.send_awaitable(2, 2, mine) == 4


@on_asyncio
async def test_the_answer_to_a_message_that_was_passed_on_goes_to_who_asked() -> None:
    async def pass_on(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        carrier.send_to_other(content, 3, meta)

    async with open_bus(None, Doing(pass_on), Answering()) as (bus, (one, *_)):
        assert await one.send_awaitable(2, 2) == 4
        one.send_to_other(3, 2)
        await bus.quiescent()
        assert [content for content, _ in one.algorithm.received] == [6]


@on_asyncio
async def test_sequenced_stays_so_while_a_request_that_nobody_awaits_is_open() -> None:
    """It was made by a handler that has ended: those that come later are given out one by one."""
    events: list[str] = []

    async def act(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        if content == "ask":
            kept.append(carrier.send_awaitable("?", 3))
        elif content == "?":
            kept.append(meta)
        else:
            events.append(f"in {content}")
            await asyncio.sleep(0.001)
            events.append(f"out {content}")

    kept: list[Any] = []
    acting = [Doing(act), Doing(act)]
    async with open_bus(None, *acting, delivery="sequenced") as (bus, (one, _, three)):
        for content in ("ask", "a", "b"):
            one.send_to_other(content, 2)
        one.send_to_other("c", 3)
        await bus.quiescent()
        assert events == [f"{step} {name}" for name in "abc" for step in ("in", "out")]
        three.reply_to_other("late", kept[1])
        assert await kept[0] == "late"


@on_asyncio
async def test_sequenced_handlers_may_ask_from_tasks_and_threads() -> None:
    async def ask(carrier: Any, content: Any, meta: dict[str, Any]) -> None:
        first = await asyncio.create_task(_asked_by(carrier, content))
        loop = asyncio.get_running_loop()
        second = await loop.run_in_executor(
            None, lambda: carrier.send_awaitable(first, 3).result(5)
        )
        carrier.reply_to_other(second, meta)

    async def _asked_by(carrier: Any, content: Any) -> Any:
        return await carrier.send_awaitable(content, 3)

    async with open_bus(None, Doing(ask), Answering(), delivery="sequenced") as (_, (one, *_)):
        assert await asyncio.wait_for(one.send_awaitable(1, 2), 5) == 4
