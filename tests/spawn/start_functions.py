"""What the tests of starting ask of an actor about its process."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass


@dataclass
class Item:
    value: int


class Odd(Exception):
    """An error of this module."""


async def add(a: int, b: int) -> int:
    return a + b


async def echo(item: object) -> object:
    return item


async def raise_odd() -> None:
    raise Odd("very")


async def environment(name: str) -> str | None:
    return os.environ.get(name)


async def paths() -> dict[str, object]:
    return {
        "argv": sys.argv,
        "path": sys.path,
        "cwd": os.getcwd(),
        "executable": sys.executable,
        "flags": [sys.flags.dev_mode, sys.flags.optimize],
    }


async def open_descriptors() -> dict[int, str]:
    """Return the descriptors that this process has open, and what they are."""
    found = {}
    for name in os.listdir("/proc/self/fd"):
        try:
            found[int(name)] = os.readlink(f"/proc/self/fd/{name}")
        except FileNotFoundError:
            continue  # the listing itself
    return found


async def read_stdin() -> bytes:
    return os.read(0, 100)
