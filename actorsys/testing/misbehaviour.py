"""Functions that harm the actor they run in: a module to offer to one that shall be harmed.

An actor that was started with ``modules=[..., "actorsys.testing.misbehaviour"]`` can be asked for
them; `actorsys.testing.Killer` does. Each returns the pid first, and does its harm when the answer
is out. So nobody waits for the call when the process dies, and its death is as sudden as one that
comes from outside.
"""

from __future__ import annotations

import ctypes
import faulthandler
import os
import resource
import sys
import time
from collections.abc import Callable

import trio

from ..actor import Actor, current_actor
from ..spawn import LocalHost

_ANSWER_SECONDS = 0.1  # to a caller that does not even read, no answer can be given
_PR_SET_DUMPABLE = 4
_MUTEX_BYTES = 256  # more than a pthread_mutex_t has anywhere
_NANOSECONDS = 10**9


async def segfault() -> int:
    """Die of a segmentation fault, without a core file."""
    return _after_the_answer(_segfault)


async def exit_at_once(code: int) -> int:
    """End with ``os._exit``: nothing is cleaned up or flushed."""
    return _after_the_answer(lambda: os._exit(code))


async def hold_interpreter(seconds: float) -> int:
    """Hold the interpreter lock for *seconds*, in C and deaf to signals but SIGKILL."""
    return _after_the_answer(lambda: _hold_interpreter(seconds))


def _after_the_answer(harm: Callable[[], object]) -> int:
    actor = current_actor()
    if not isinstance(actor.host, LocalHost):
        raise RuntimeError(f"actor {actor.name!r} is simulated: there is no process to be harmed")
    # A task of the run, and none of this call, which is about to end.
    trio.lowlevel.spawn_system_task(_do, harm, actor)
    return os.getpid()


async def _do(harm: Callable[[], object], actor: Actor) -> None:
    with trio.move_on_after(_ANSWER_SECONDS):
        await trio.lowlevel.checkpoint()  # the answer is queued
        for channel in tuple(actor.channels):
            await channel.wait_flushed()
    harm()


def _segfault() -> None:
    faulthandler.disable()  # it is no news where this happened
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform == "linux":
        # The limit does not hold where the kernel hands core files to a program.
        ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    ctypes.string_at(0)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _hold_interpreter(seconds: float) -> None:
    """Wait in vain for a mutex: no signal interrupts that, and it takes no processor time."""
    libc = ctypes.PyDLL(None)  # unlike CDLL, it keeps the lock while it calls
    mutex = ctypes.create_string_buffer(_MUTEX_BYTES)
    libc.pthread_mutex_lock(mutex)
    until = _Timespec(*divmod(time.time_ns() + int(seconds * _NANOSECONDS), _NANOSECONDS))
    libc.pthread_mutex_timedlock(mutex, ctypes.byref(until))
    libc.pthread_mutex_unlock(mutex)
