"""Functions that the tests of portals call in other processes."""

from __future__ import annotations

import enum
import os
import threading
from dataclasses import dataclass, field
from os import getpid  # noqa: F401  # imported on purpose: it must not be callable
from typing import Any

import trio

import actorsys


@dataclass
class Point:
    x: int
    y: int = 0
    tags: list[str] = field(default_factory=list)


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Stranger:
    """Never registered."""

    x: int = 1


class Service:
    """Its methods are not functions of this module."""

    def method(self) -> str:
        return "called"


some_value = 3
_started = threading.Event()
_release = threading.Event()


async def add(a: int, b: int = 0) -> int:
    return a + b


async def echo(value: Any) -> Any:
    return value


async def describe(*args: Any, **kwargs: Any) -> Any:
    return args, kwargs


async def return_stranger() -> Any:
    return Stranger()


async def return_object() -> Any:
    return object()


async def return_too_much() -> Any:
    return bytes(65 * 1024 * 1024)


async def _private() -> str:
    return "called"


def sync_thread() -> bool:
    return threading.current_thread() is threading.main_thread()


def sync_add(a: int, b: int = 0) -> int:
    return a + b


def sync_fail() -> None:
    raise ValueError("from a thread")


def sync_block() -> str:
    _started.set()
    assert _release.wait(10)
    return "released"


async def unblock() -> None:
    _release.set()


def sync_wait_started() -> bool:
    return _started.wait(10)


def sync_name() -> str:
    return actorsys.current_actor().name


def sync_returning_coroutine() -> Any:
    return add(1, 2)


async def own_pid() -> int:
    return os.getpid()


async def own_uid() -> tuple[str, str]:
    return actorsys.current_actor().uid


async def own_parent_uid() -> Any:
    return actorsys.current_actor().parent_uid


async def trace() -> str | None:
    return actorsys.trace_context.get()


async def sleep_forever() -> None:
    await trio.sleep_forever()


async def count(stop: int) -> Any:
    for i in range(stop):
        yield i


@actorsys.context
async def greet(ctx: actorsys.Context, name: str) -> str:
    await ctx.started(f"hello {name}")
    return "bye"
