"""Two tasks in two actors, linked from the handshake until both have ended."""

from __future__ import annotations

from pathlib import Path

import context_functions as remote
import pytest
import trio
from shared_tree import SharedTree, alone
from tree_helpers import open_journal, open_worker

import actorsys

MODULE = "context_functions"
shared_tree = SharedTree(["worker"], MODULE)
pytestmark = pytest.mark.timeout(15)


async def test_a_dialogue_has_a_handshake_a_stream_and_a_result() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.upper, room="a") as (ctx, first):
            assert first == {"room": "a"}
            async with ctx.open_stream() as stream:
                await stream.send("hi")
                assert await stream.receive() == "HI"
            assert await ctx.result() == "bye"
            assert await ctx.result() == "bye"
            assert not ctx.cancel_called
            assert ctx.canceller is None


async def test_leaving_the_block_waits_for_the_far_side() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.start_and_return, None, 1):
            pass
        assert await portal.run(remote.calls_in_flight) == 0
        async with portal.open_context(remote.upper, room="b") as (ctx, _):
            pass  # the far side reads a stream that this side never opened
        assert await ctx.result() == "bye"
        assert await portal.run(remote.calls_in_flight) == 0


async def test_a_far_side_that_ends_without_started_is_an_error() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(actorsys.ActorsysError, match="started"):
            async with portal.open_context(remote.never_start):
                pytest.fail("there is no handshake value")
        with pytest.raises(ValueError, match="before started"):
            async with portal.open_context(remote.fail_before_start):
                pytest.fail("there is no handshake value")
        assert await portal.run(remote.add, 1, 1) == 2


async def test_waiting_for_started_can_be_cancelled(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.move_on_after(0.05) as scope:
            async with portal.open_context(remote.start_after, journal.path):
                pytest.fail("there is no handshake value")
        assert scope.cancelled_caught
        assert await journal.read_line() == "ended"
        assert await portal.run(remote.calls_in_flight) == 0


async def test_the_order_of_a_context_is_enforced() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.start_twice) as (ctx, first):
            assert first == 1
            assert str(await ctx.result()).startswith("refused")
        for fn in (remote.stream_before_start, remote.stream_twice, remote.ask_for_own_result):
            async with portal.open_context(fn) as (ctx, _):
                assert await ctx.result() == "refused"
        async with portal.open_context(remote.upper, "c") as (ctx, _):
            with pytest.raises(actorsys.LocalProtocolError):
                await ctx.started()
            async with ctx.open_stream():
                pass
            with pytest.raises(actorsys.LocalProtocolError):
                async with ctx.open_stream():
                    pass


async def test_values_that_cannot_travel_are_errors_where_they_are_sent() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.start_with_what_cannot_travel) as (ctx, first):
            assert first == "refused"
        with trio.fail_after(5), pytest.raises(actorsys.EncodeError, match="object"):
            async with portal.open_context(remote.return_what_cannot_travel) as (ctx, _):
                await ctx.result()
        async with portal.open_context(remote.upper, "d") as (ctx, _):
            async with ctx.open_stream() as stream:
                with pytest.raises(actorsys.EncodeError, match="object"):
                    await stream.send(object())
                await stream.send("still usable")
                assert await stream.receive() == "STILL USABLE"


async def test_an_error_of_the_far_side_interrupts_the_block() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5):
            with pytest.raises(ValueError, match="far side failed") as caught:
                async with portal.open_context(remote.fail_at_once):
                    await trio.sleep_forever()
            assert isinstance(caught.value, actorsys.RemoteActorError)
            with pytest.raises(ValueError, match="far side failed"):
                async with portal.open_context(remote.fail_when_told) as (ctx, _):
                    async with ctx.open_stream() as stream:
                        await stream.send("now")
                        await stream.receive()
            with pytest.raises(ValueError, match="far side failed"):
                async with portal.open_context(remote.fail_at_once) as (ctx, _):
                    await ctx.result()
            with pytest.raises(ValueError, match="far side failed"):
                async with portal.open_context(remote.fail_at_once):
                    pass
        assert await portal.run(remote.add, 1, 1) == 2


async def test_leaving_with_an_error_cancels_the_far_side(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(KeyError, match="of the body"):
            async with portal.open_context(remote.wait_for_end, journal.path):
                raise KeyError("of the body")
        assert await journal.read_line() == "cancelled by root"
        assert await portal.run(remote.calls_in_flight) == 0


async def test_an_error_of_a_cancelled_far_side_is_not_lost() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(Exception, match="clean-up failed") as caught:
            async with portal.open_context(remote.fail_in_clean_up):
                raise RuntimeError("of the body")
        assert isinstance(caught.value, KeyError)
        context = caught.value.__context__
        assert isinstance(context, RuntimeError)
        with trio.fail_after(5), pytest.raises(KeyError, match="clean-up failed"):
            async with portal.open_context(remote.fail_in_clean_up) as (ctx, _):
                await ctx.cancel()


async def test_the_caller_absorbs_its_own_cancel(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        root = actorsys.current_actor().uid
        async with portal.open_context(remote.wait_for_end, journal.path) as (ctx, _):
            await ctx.cancel()
            assert ctx.cancel_called
            assert await journal.read_line() == "cancelled by root"
            body_went_on = True
        assert body_went_on
        assert ctx.canceller == root
        assert await portal.run(remote.calls_in_flight) == 0


async def test_the_result_of_what_we_cancelled_says_so_and_is_absorbed(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        async with portal.open_context(remote.wait_for_end, journal.path) as (ctx, _):
            await ctx.cancel()
            with pytest.raises(actorsys.ContextCancelled) as caught:
                await ctx.result()
            assert caught.value.canceller == actorsys.current_actor().uid
        async with portal.open_context(remote.wait_for_end, journal.path) as (ctx, _):
            await ctx.cancel()
            await ctx.result()
            pytest.fail("a cancelled context has no result")


async def test_a_cancel_of_the_far_side_surfaces_here_and_names_it(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(actorsys.ContextCancelled) as caught:
            async with portal.open_context(remote.cancel_itself, journal.path):
                await trio.sleep_forever()
        assert caught.value.canceller == portal.uid
        assert await journal.read_line() == "True True"


async def test_a_cancel_of_the_far_side_surfaces_from_its_stream() -> None:
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(actorsys.ContextCancelled) as caught:
            async with portal.open_context(remote.cancel_itself_when_told) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.send("now")
                    await stream.receive()
        assert caught.value.canceller == portal.uid


async def test_a_stream_that_an_error_cuts_short_does_not_look_complete() -> None:
    seen: list[object] = []
    async with open_worker(MODULE) as portal:
        with trio.fail_after(5), pytest.raises(ValueError, match="far side failed"):
            async with portal.open_context(remote.fail_inside_stream) as (ctx, _):
                async with ctx.open_stream() as stream:
                    async for item in stream:
                        seen.append(item)
                    seen.append("complete")
    assert seen == [1]


@alone
async def test_a_cancel_by_a_third_actor_surfaces_and_names_it(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        root = actorsys.current_actor().uid
        with trio.fail_after(5), pytest.raises(actorsys.ContextCancelled) as caught:
            async with portal.open_context(remote.wait_for_end, journal.path) as (ctx, _):
                await portal.cancel_actor()
                await trio.sleep_forever()
        assert caught.value.canceller == root
        assert not ctx.cancel_called
        assert await journal.read_line() == "cancelled by root"


async def test_a_cancel_reaches_what_the_far_side_has_opened_itself(tmp_path: Path) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.fail_after(5):
            async with portal.open_context(remote.open_context_to_leaf, journal.path) as (ctx, _):
                await ctx.cancel()
        assert await journal.read_line() == "cancelled by worker"


async def test_a_scope_of_the_far_side_is_its_own_affair() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.catch_local_cancel) as (ctx, _):
            assert await ctx.result() == "went on"


async def test_a_far_side_that_sends_for_ever_ends_when_its_reader_has_left(
    tmp_path: Path,
) -> None:
    async with open_journal(tmp_path) as journal, open_worker(MODULE) as portal:
        with trio.fail_after(5):
            async with portal.open_context(remote.send_for_ever_and_give_up) as (ctx, _):
                async with ctx.open_stream() as stream:
                    await stream.receive()
            assert await ctx.result() == "gave up"
            with pytest.raises(actorsys.RemoteActorError):
                async with portal.open_context(remote.send_for_ever, journal.path):
                    pass  # without ever reading
            assert await journal.read_line() == "nobody reads"
        assert await portal.run(remote.calls_in_flight) == 0


async def test_what_was_sent_before_the_end_can_still_be_read() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.push, 100) as (ctx, _):
            assert await ctx.result() == "pushed"
            async with ctx.open_stream() as stream:
                assert [item async for item in stream] == list(range(100))


async def test_what_the_caller_sent_before_it_left_its_stream_arrives() -> None:
    async with open_worker(MODULE) as portal:
        async with portal.open_context(remote.collect) as (ctx, _):
            async with ctx.open_stream() as stream:
                for i in range(100):
                    await stream.send(i)
            assert await ctx.result() == list(range(100))


async def test_several_contexts_with_one_actor_do_not_mix() -> None:
    async def talk(word: str) -> None:
        async with portal.open_context(remote.upper, word) as (ctx, first):
            assert first == {"room": word}
            async with ctx.open_stream() as stream:
                for i in range(20):
                    await stream.send(f"{word}{i}")
                    assert await stream.receive() == f"{word}{i}".upper()

    async with open_worker(MODULE) as portal, trio.open_nursery() as tasks:
        for word in ("a", "b", "c", "d"):
            tasks.start_soon(talk, word)
