"""Routes that lead to actors: streams and calls, and what their death does."""

from __future__ import annotations

import functools
import threading

import pytest
from routing_functions import answer, collect
from routing_helpers import ask, letters_of

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


async def test_a_route_to_a_permanent_actor_outlives_its_death() -> None:
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

        with pytest.raises(DeadLettered, match="route_closed") as info:
            await dispatcher.request(ask("one", "die"))
        assert info.value.letter.may_have_been_delivered
        back = await dispatcher.request(ask("one", "are you back?"))
        assert back == "REQUEST_INFERENCE for one: are you back?"
        await nursery.cancel()
