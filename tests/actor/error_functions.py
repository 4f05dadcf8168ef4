"""Functions that fail in every way, for the tests of errors; some pass a call on to a child."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import trio

import actorsys


class Refused(Exception):
    """An error with a state of its own."""

    def __init__(self, code: int, why: str) -> None:
        super().__init__(code, why)
        self.code = code


class Unregistered(ValueError):
    """Never registered."""


class Awkward(Exception):
    """Its constructor does not take its args, and it cannot say what it is."""

    def __init__(self, *, needed: int) -> None:
        super().__init__()
        self.needed = needed

    def __str__(self) -> str:
        raise RuntimeError("no text")


async def add(a: int, b: int) -> int:
    return a + b


async def raise_value_error(text: str) -> None:
    raise ValueError(text)


async def raise_key_error() -> None:
    {}["missing"]


async def raise_os_error() -> None:
    Path("/no/such/file").read_text()


async def raise_with_notes() -> None:
    error = ValueError("noted")
    error.add_note("first note")
    error.add_note("second note")
    raise error


async def raise_from_cause() -> None:
    try:
        int("not a number")
    except ValueError as error:
        raise RuntimeError("outer") from error


async def raise_in_context() -> None:
    try:
        int("not a number")
    except ValueError:
        raise RuntimeError("while handling")


async def raise_from_none() -> None:
    try:
        int("not a number")
    except ValueError:
        raise RuntimeError("alone") from None


async def raise_group() -> None:
    inner = ExceptionGroup("inner", [KeyError("k")])
    raise ExceptionGroup("outer", [ValueError("v"), TypeError("t"), inner])


async def raise_from_nursery() -> None:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(raise_value_error, "in a task")


async def raise_refused() -> None:
    raise Refused(7, "because")


async def raise_unregistered() -> None:
    raise Unregistered("of nobody's knowledge")


async def raise_awkward() -> None:
    raise Awkward(needed=1)


async def raise_unicode_error() -> None:
    b"\xff".decode("utf-8")


async def raise_stop_iteration() -> None:
    raise StopIteration("value")


async def raise_timeout() -> None:
    with trio.fail_after(0):
        await trio.sleep_forever()


async def raise_assertion() -> None:
    assert False, "not so"  # noqa: B011, PT015


async def raise_hostile_text() -> None:
    raise ValueError("\x1b[31mred\x07" + "x" * 1_000_000)


async def raise_object() -> None:
    raise ValueError(object())


async def raise_endless_causes() -> None:
    error: Exception = ValueError("0")
    for i in range(1000):
        following = ValueError(str(i))
        following.__cause__ = error
        error = following
    raise error


async def raise_loop_of_causes() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__cause__ = second, first
    raise first


async def exit_quietly() -> None:
    sys.exit(3)


async def interrupt() -> None:
    raise KeyboardInterrupt


def exit_in_thread() -> None:
    sys.exit(4)


async def count_then_fail(stop: int) -> Any:
    for i in range(stop):
        yield i
    raise ValueError("no more")


async def relay(name: str, *args: Any) -> Any:
    """Call *name* of this module in a child of this actor."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", modules=[__name__])
        result = await portal.run(f"{__name__}:{name}", *args)
        await portal.cancel_actor()
    return result


async def relay_and_catch(name: str) -> str:
    """Say which builtin error the child of this actor raised."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("leaf", modules=[__name__])
        try:
            await portal.run(f"{__name__}:{name}")
        except ValueError:
            return "ValueError"
        finally:
            await portal.cancel_actor()
    return "nothing"
