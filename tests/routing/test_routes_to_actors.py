"""Routes that lead to actors: streams and calls, and what their death does."""

from __future__ import annotations

import functools
import threading

import pytest
import trio
from routing_functions import answer, collect
from routing_helpers import ask, letters_of
from trio.testing import wait_all_tasks_blocked

import actorsys
from actorsys import DeadLettered, open_dispatcher

STARTS_PROCESSES = True
MODULES = [answer.__module__]


async def test_messages_go_over_the_stream_of_a_context() -> None:
    async with actorsys.open_nursery() as nursery, open_dispatcher() as dispatcher:
        portal = await nursery.start_actor("worker", modules=MODULES)
        async with portal.open_context(collect) as (ctx, _), ctx.open_stream() as stream:
            dispatcher.add_route("a", stream)
            for n in range(500):
                dispatcher.assign(n % 7, "a")
                await dispatcher.dispatch(ask(n % 7, n))
            await dispatcher.dispatch(ask(0, threading.Lock()))
            counts = await dispatcher.aclose()
            await stream.send(None)
            assert sorted(await ctx.result()) == list(range(500))
        assert counts.delivered == 500
        assert [letter.reason for letter in letters_of(dispatcher)] == ["encode_error"]
        await portal.cancel_actor()


async def test_a_killed_actor_closes_its_route_and_the_next_one_goes_on() -> None:
    strategy = actorsys.OneForOne()
    async with actorsys.open_nursery(strategy=strategy) as nursery, open_dispatcher() as dispatcher:
        portal = await nursery.start_actor("worker", modules=MODULES, restart="permanent")
        call = functools.partial(portal.run, answer)
        dispatcher.add_route("a", call)
        dispatcher.assign("one", "a")
        hello = await dispatcher.request(ask("one", "hello"))
        assert hello == "REQUEST_INFERENCE for one: hello"
        with pytest.raises(DeadLettered, match="rejected"):
            await dispatcher.request(ask("one", "fail"))

        answers: list[str] = []

        async def request() -> None:
            answers.append(await dispatcher.request(ask("one", "are you back?")))

        with pytest.raises(DeadLettered, match="route_closed") as info:
            await dispatcher.request(ask("one", "die"))
        assert info.value.letter.may_have_been_delivered
        async with trio.open_nursery() as tasks:
            tasks.start_soon(request)
            await wait_all_tasks_blocked()
            assert answers == []
            dispatcher.add_route("a", call)  # the portal outlives the restart
        assert answers == ["REQUEST_INFERENCE for one: are you back?"]
        await nursery.cancel()
