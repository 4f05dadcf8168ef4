"""A program that starts trees of actors, each of which opens the journal and then does not end.

    python tree_program.py JOURNAL one-shots|calls BEHAVIOUR DEPTH [BEHAVIOUR DEPTH ...]

Each pair is a chain of so many actors, the last of which behaves as named. The root either runs
them as one-shots, or starts daemons and calls them in tasks of its own.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time

import journal
import trio

import actorsys


async def idle() -> None:
    await trio.sleep_forever()


async def ignore_cancel() -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def ignore_sigterm() -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    with trio.CancelScope(shield=True):
        await trio.sleep_forever()


async def block_the_loop() -> None:
    while True:
        time.sleep(1)


async def hold_the_gil() -> None:
    """Sit in C without giving the interpreter lock back."""
    ctypes.PyDLL(None).sleep(60)


async def import_for_ever(path: str) -> None:
    """Start a child that never gets through its imports."""
    async with actorsys.open_nursery() as nursery:
        await nursery.start_actor(
            "importing", modules=["endless_import"], env={"ACTORSYS_TEST_JOURNAL": path}
        )


async def clean_up_slowly() -> None:
    """Take a while to end, though less than is allowed."""
    try:
        await trio.sleep_forever()
    finally:
        with trio.CancelScope(shield=True):
            await trio.sleep(0.05)
        print("cleaned up", flush=True)


BEHAVIOURS = {
    function.__name__: function
    for function in (
        idle,
        ignore_cancel,
        ignore_sigterm,
        block_the_loop,
        hold_the_gil,
        clean_up_slowly,
    )
}


async def grow(path: str, behaviour: str, depth: int) -> None:
    """Be one actor of a chain; note behaviour, distance from the end, and pid."""
    journal.hold(path, f"{behaviour}-{depth} {os.getpid()}")
    if depth == 1:
        await BEHAVIOURS[behaviour]()
    elif behaviour == "import_for_ever":
        await import_for_ever(path)
    else:
        async with actorsys.open_nursery() as nursery:
            portal = await nursery.start_actor(f"{behaviour}-{depth - 1}", modules=[__name__])
            await portal.run(grow, path, behaviour, depth - 1)


async def main(path: str, way: str, *chains: str) -> None:
    journal.hold(path, f"root {os.getpid()}")
    pairs = [(name, int(depth)) for name, depth in zip(chains[::2], chains[1::2], strict=True)]
    async with actorsys.open_nursery() as nursery:
        if way == "one-shots":
            for behaviour, depth in pairs:
                name = f"{behaviour}-{depth}"
                await nursery.run_in_actor(grow, path, behaviour, depth, name=name)
            return
        async with trio.open_nursery() as tasks:
            for behaviour, depth in pairs:
                portal = await nursery.start_actor(f"{behaviour}-{depth}", modules=[__name__])
                tasks.start_soon(portal.run, grow, path, behaviour, depth)


if __name__ == "__main__":
    trio.run(main, *sys.argv[1:])
