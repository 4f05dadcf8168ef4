"""Order between processes: the work of one waits, on the device, for that of another.

A hand-off of device memory carries a *mark*: it stands for what its sender had queued by then.
Nobody's processor waits for a mark, only the streams of the device do.
"""

from __future__ import annotations

import contextlib
import os
from collections import OrderedDict, deque
from collections.abc import Iterable
from typing import Any, NamedTuple

from ..errors import DeviceUnavailable
from ..memory import is_alive
from .runtime import CudaRuntime, checked_handle

MAX_EVENTS = 256
"""Events of a process for each device. PyTorch met a limit at about 22,000 for a machine."""

MAX_OPENED_EVENTS = 1024
"""Events of others that a process keeps open: those of four, if each has used all of its own."""


class Mark(NamedTuple):
    """What a process had queued on a device at some time: an event of it, by its handle."""

    pid: int
    handle: bytes

    @classmethod
    def checked(cls, told: Any) -> Mark:
        """Return the mark that *told* is.

        Raises:
          ValueError: it is none.
        """
        pid, handle = told
        if type(pid) is not int or not 0 < pid < 2**31:
            raise ValueError("a mark is of a process")
        return cls(pid, checked_handle(handle))


class Events:
    """The events of one device that this process has. Owned by a `Gpu`, which locks it.

    Its own go round: the one that is used next is the one that was used longest ago. If what that
    stands for is not done, and there are as many as there may be, the stream waits for it before it
    is recorded again: whoever looks at it late waits for too much, and never for too little.
    """

    def __init__(self, runtime: CudaRuntime, number: int) -> None:
        self._runtime = runtime
        self._number = number
        self._own: deque[tuple[int, bytes]] = deque()
        self._opened: OrderedDict[Mark, int] = OrderedDict()

    def __repr__(self) -> str:
        return f"<Events: {len(self._own)} own, {len(self._opened)} opened>"

    def mark(self, again: Mark | None, others: Iterable[int]) -> Mark:
        """Return a mark of what is queued by now on the current stream, and on those of *others*.

        One that is made *again* stands for what it stood for before, too.
        """
        with self._runtime.on(self._number):
            for number in others:
                self._wait_for_device(number)
            event, handle = self._again(again) or self._next()
            self._runtime.record(event)
        return Mark(os.getpid(), handle)

    def _wait_for_device(self, number: int) -> None:
        """Let the current stream wait for that of another device."""
        with self._runtime.on(number):
            event = self._runtime.create_event()
        try:
            with self._runtime.on(number):
                self._runtime.record(event)
            self._runtime.wait(event)
        finally:
            with self._runtime.on(number):
                self._destroy(event)  # who waits for it goes on waiting

    def _again(self, mark: Mark | None) -> tuple[int, bytes] | None:
        own = next((own for own in self._own if mark and own[1] == mark.handle), None)
        if own is not None:
            self._own.remove(own)
            self._own.append(own)
            if not self._runtime.is_done(own[0]):
                self._runtime.wait(own[0])
        return own

    def _next(self) -> tuple[int, bytes]:
        is_done = bool(self._own) and self._runtime.is_done(self._own[0][0])
        if not is_done and len(self._own) < MAX_EVENTS:
            self._own.append(self._new())
            return self._own[-1]
        if not is_done:
            self._runtime.wait(self._own[0][0])
        self._own.rotate(-1)
        return self._own[-1]

    def _new(self) -> tuple[int, bytes]:
        event = self._runtime.create_event()
        try:
            return event, self._runtime.export_event(event)
        except BaseException:
            self._destroy(event)
            raise

    def wait(self, mark: Mark) -> bool:
        """Let the current stream wait for a mark; return whether it is done with already.

        What a process had queued ends with it, so a mark of one that has ended is done with. If
        another device is the current one, its stream waits as well.
        """
        here = self._runtime.current_device()
        with self._runtime.on(self._number):
            try:
                event = self._find(mark)
                if event is None or self._runtime.is_done(event):
                    return True
                self._runtime.wait(event)
                if here != self._number:
                    with self._runtime.on(here):
                        self._runtime.wait(event)
            except DeviceUnavailable:
                if is_alive(mark.pid):
                    raise
                self.forget(mark.pid)
                return True
        return False

    def _find(self, mark: Mark) -> int | None:
        """Return the event of a mark; None if it is one of this process that is no more."""
        if mark.pid == os.getpid():
            return next((event for event, handle in self._own if handle == mark.handle), None)
        if mark not in self._opened:
            if len(self._opened) >= MAX_OPENED_EVENTS:
                _, oldest = self._opened.popitem(last=False)
                self._destroy(oldest)
            self._opened[mark] = self._runtime.open_event(mark.handle)
        self._opened.move_to_end(mark)
        return self._opened[mark]

    def forget(self, pid: int) -> None:
        """Give up the events of a process that has ended."""
        with self._runtime.on(self._number):
            for mark in [mark for mark in self._opened if mark.pid == pid]:
                self._destroy(self._opened.pop(mark))

    def _destroy(self, event: int) -> None:
        # Its process may have ended: then it is no fault that there is nothing to destroy.
        with contextlib.suppress(DeviceUnavailable):
            self._runtime.destroy_event(event)

    @property
    def pids(self) -> set[int]:
        """The processes of which events are open."""
        return {mark.pid for mark in self._opened}
