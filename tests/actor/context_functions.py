"""Far sides for the tests of contexts. What they do at their end they leave in a journal."""

from __future__ import annotations

import journal
import trio

import actorsys

Context = actorsys.Context


async def add(a: int, b: int) -> int:
    return a + b


async def calls_in_flight() -> int:
    """Return how many calls of our parent run here, this one apart."""
    (link,) = actorsys.current_actor().statistics().links
    return link.calls_in_flight - 1


@actorsys.context
async def upper(ctx: Context, room: str) -> str:
    await ctx.started({"room": room})
    async with ctx.open_stream() as stream:
        async for line in stream:
            await stream.send(line.upper())
    return "bye"


@actorsys.context
async def start_and_return(ctx: Context, first: object, result: object) -> object:
    await ctx.started(first)
    return result


@actorsys.context
async def never_start(ctx: Context) -> str:
    return "too early"


@actorsys.context
async def fail_before_start(ctx: Context) -> None:
    raise ValueError("before started")


@actorsys.context
async def start_after(ctx: Context, path: str) -> None:
    try:
        await trio.sleep_forever()
    finally:
        journal.write(path, "ended")


@actorsys.context
async def start_twice(ctx: Context) -> str:
    await ctx.started(1)
    try:
        await ctx.started(2)
    except actorsys.LocalProtocolError as error:
        return f"refused: {error}"
    return "accepted"


@actorsys.context
async def stream_before_start(ctx: Context) -> str:
    said = "accepted"
    try:
        async with ctx.open_stream():
            pass
    except actorsys.LocalProtocolError:
        said = "refused"
    await ctx.started()
    return said


@actorsys.context
async def stream_twice(ctx: Context) -> str:
    await ctx.started()
    async with ctx.open_stream():
        pass
    try:
        async with ctx.open_stream():
            return "accepted"
    except actorsys.LocalProtocolError:
        return "refused"


@actorsys.context
async def ask_for_own_result(ctx: Context) -> str:
    await ctx.started()
    try:
        await ctx.result()
    except actorsys.LocalProtocolError:
        return "refused"
    return "accepted"


@actorsys.context
async def start_with_what_cannot_travel(ctx: Context) -> str:
    try:
        await ctx.started(object())
    except actorsys.EncodeError:
        await ctx.started("refused")
    return "done"


@actorsys.context
async def return_what_cannot_travel(ctx: Context) -> object:
    await ctx.started()
    return object()


@actorsys.context
async def fail_when_told(ctx: Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
    raise ValueError("far side failed")


@actorsys.context
async def fail_inside_stream(ctx: Context) -> None:
    """Fail in the middle of a stream, with a clean-up that takes a while."""
    await ctx.started()
    try:
        async with ctx.open_stream() as stream:
            await stream.send(1)
            raise ValueError("far side failed")
    finally:
        await trio.sleep(0.05)


@actorsys.context
async def fail_at_once(ctx: Context) -> None:
    await ctx.started()
    raise ValueError("far side failed")


@actorsys.context
async def fail_in_clean_up(ctx: Context) -> None:
    await ctx.started()
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("clean-up failed")


@actorsys.context
async def wait_for_end(ctx: Context, path: str) -> None:
    """Say in the journal how it ended."""
    await ctx.started()
    try:
        await trio.sleep_forever()
    except trio.Cancelled:
        canceller = ctx.canceller
        journal.write(path, f"cancelled by {canceller[0] if canceller else None}")
        raise


@actorsys.context
async def send_for_ever(ctx: Context, path: str) -> str:
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            while True:
                await stream.send(b"x" * 1000)
        except actorsys.ChannelBroken:
            journal.write(path, "nobody reads")
            raise


@actorsys.context
async def send_for_ever_and_give_up(ctx: Context) -> str:
    await ctx.started()
    async with ctx.open_stream() as stream:
        try:
            while True:
                await stream.send(b"x" * 1000)
        except actorsys.ChannelBroken:
            return "gave up"


@actorsys.context
async def cancel_itself(ctx: Context, path: str) -> None:
    await ctx.started()
    try:
        await ctx.cancel()
        await trio.sleep_forever()
    finally:
        own_uid = actorsys.current_actor().uid
        journal.write(path, f"{ctx.cancel_called} {ctx.canceller == own_uid}")


@actorsys.context
async def cancel_itself_when_told(ctx: Context) -> None:
    await ctx.started()
    async with ctx.open_stream() as stream:
        await stream.receive()
        await ctx.cancel()
        await trio.sleep_forever()


@actorsys.context
async def catch_local_cancel(ctx: Context) -> str:
    """A scope of its own has nothing to do with the context."""
    await ctx.started()
    with trio.move_on_after(0):
        await trio.sleep_forever()
    return "went on"


@actorsys.context
async def open_context_to_leaf(ctx: Context, path: str) -> None:
    """Hold a context of a child of this actor open until the end."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", modules=[__name__])
        async with portal.open_context(wait_for_end, path) as (_, first):
            await ctx.started(first)
            await trio.sleep_forever()


@actorsys.context
async def push(ctx: Context, count: int) -> str:
    await ctx.started()
    async with ctx.open_stream() as stream:
        for i in range(count):
            await stream.send(i)
    return "pushed"


@actorsys.context
async def collect(ctx: Context) -> list[object]:
    await ctx.started()
    async with ctx.open_stream() as stream:
        return [item async for item in stream]
