"""Functions that the tests of nurseries run in actors."""

from __future__ import annotations

import os
import threading

import journal
import trio

import actorsys


async def add(a: int, b: int = 0) -> int:
    return a + b


async def own_name() -> str:
    return actorsys.current_actor().name


async def fail(text: str) -> None:
    raise ValueError(text)


async def fail_when_released(path: str, gate: str, text: str) -> None:
    """Fail when the pipe *gate* is closed by its last writer."""
    fd = os.open(gate, os.O_RDONLY | os.O_NONBLOCK)
    journal.write(path, "ready")
    stream = trio.lowlevel.FdStream(fd)
    await stream.receive_some()
    raise ValueError(text)


async def die(code: int) -> None:
    os._exit(code)


async def hang(path: str | None = None) -> None:
    if path is not None:
        journal.write(path, "hanging")
    await trio.sleep_forever()


async def fail_when_cancelled(path: str) -> None:
    journal.write(path, "hanging")
    try:
        await trio.sleep_forever()
    finally:
        raise KeyError("clean-up failed")


async def note_end(path: str) -> None:
    journal.write(path, "hanging")
    try:
        await trio.sleep_forever()
    finally:
        journal.write(path, "ended")


async def return_what_cannot_travel() -> object:
    return object()


async def describe_self() -> dict[str, object]:
    actor = actorsys.current_actor()
    return {
        "name": actor.name,
        "uid": actor.uid,
        "parent": actor.parent_uid,
        "pid": os.getpid(),
        "statistics": actor.statistics().name,
    }


async def describe_child() -> list[dict[str, object]]:
    """Describe this actor, and then a child of it."""
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("grandchild", modules=[__name__])
        described = await portal.run(describe_self)
        assert portal.uid == described["uid"]
        await portal.cancel_actor()
    return [await describe_self(), described]


async def run_failing_child(text: str) -> None:
    async with actorsys.open_nursery() as nursery:
        await nursery.run_in_actor(fail, text)


def name_in_thread() -> str:
    return actorsys.current_actor().name


def name_in_foreign_thread() -> str:
    """A thread that trio does not know has no actor."""
    said: list[str] = []

    def run() -> None:
        try:
            said.append(actorsys.current_actor().name)
        except actorsys.NoRuntime:
            said.append("none")

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return said[0]
