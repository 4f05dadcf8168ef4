"""Sides that send the bytes of an array to their other process, in ways that Python has.

Each is a function of its own that yields how to call that process. They are blocking, which is the
fastest way to wait for one answer. The floor, which sends them as well, is in `floor`.
"""

from __future__ import annotations

import json
import multiprocessing
import pickle
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any, Protocol

import numpy

from . import peers
from .peers import measure_rate
from .sizes import MIB

CONTEXT = multiprocessing.get_context("spawn")
_COUNT = struct.Struct("<Q")

Call = Callable[[str, Any], Any]
"""Called with ``echo`` or ``touch`` and an array; returns the array, or its first byte."""


class Link(Protocol):
    """One end of a connection that carries objects."""

    def send(self, value: Any, /) -> None:
        """Send an object."""

    def recv(self) -> Any:
        """Return the next one; raise `EOFError` when the other end is closed."""


def answer(link: Link) -> None:
    """Answer calls until the other end is closed."""
    try:
        while True:
            how, array = link.recv()
            link.send(array if how == "echo" else int(array[0]))
    except EOFError:
        return


@contextmanager
def answering(link: Link) -> Iterator[None]:
    """Have a process that answers at *link* for the time of the block, which closes it."""
    process = CONTEXT.Process(target=answer, args=(link,), daemon=True)
    process.start()
    yield
    process.join()


def calling(link: Link) -> Call:
    """Return how to call whoever answers at the other end of *link*."""

    def call(how: str, array: Any) -> Any:
        link.send((how, array))
        return link.recv()

    return call


# --- the ways ----------------------------------------------------------------------------


class PickleLink:
    """Pickles over a socket; the bytes of arrays travel beside them and are not copied to it."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket = sock

    def send(self, value: Any, /) -> None:
        """Send an object."""
        buffers: list[pickle.PickleBuffer] = []
        body = pickle.dumps(value, protocol=5, buffer_callback=buffers.append)
        raws = [buffer.raw() for buffer in buffers]
        sizes = [len(body), *[raw.nbytes for raw in raws]]
        head = _COUNT.pack(len(sizes)) + b"".join(map(_COUNT.pack, sizes))
        self._socket.sendall(head + body)
        for raw in raws:
            self._socket.sendall(raw)

    def recv(self) -> Any:
        """Return the next one; raise `EOFError` when the other end is closed."""
        sizes = [self._read_count() for _ in range(self._read_count())]
        body, *buffers = [self._read(size) for size in sizes]
        return pickle.loads(body, buffers=buffers)

    def _read_count(self) -> int:
        count: int = _COUNT.unpack(self._read(_COUNT.size))[0]
        return count

    def _read(self, size: int) -> memoryview:
        whole = rest = numpy.empty(size, "u1").data  # which does not fill it with zeros
        while rest:
            count = self._socket.recv_into(rest)
            if not count:
                raise EOFError
            rest = rest[count:]
        return whole


@contextmanager
def pickle_tcp() -> Iterator[Call]:
    """Pickles of protocol 5 over TCP."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ours = socket.create_connection(listener.getsockname())
        theirs, _ = listener.accept()
    with answering(PickleLink(theirs)):
        theirs.close()
        yield calling(PickleLink(ours))
        ours.close()


@contextmanager
def pipe() -> Iterator[Call]:
    """A `multiprocessing.Pipe`."""
    ours, theirs = CONTEXT.Pipe()
    with answering(theirs):
        theirs.close()
        yield calling(ours)
        ours.close()


class QueueLink:
    """Two queues, one for each direction."""

    def __init__(self, inbox: Any, outbox: Any) -> None:
        self._inbox = inbox
        self.send = outbox.put

    def recv(self) -> Any:
        """Return the next one; raise `EOFError` when the other end is closed."""
        value = self._inbox.get()
        if value is None:
            raise EOFError
        return value


@contextmanager
def queue() -> Iterator[Call]:
    """Two `multiprocessing.Queue`."""
    there, back = CONTEXT.Queue(), CONTEXT.Queue()
    with answering(QueueLink(there, back)):
        yield calling(QueueLink(back, there))
        there.put(None)


@contextmanager
def ray() -> Iterator[Call]:
    """The object store of Ray, where its large arguments and results are; it only echoes."""
    with peers.ray() as caller:
        yield lambda how, array: caller.echo(array)


COPIES: dict[str, Callable[[], Any]] = {
    "pickle": pickle_tcp,
    "pipe": pipe,
    "queue": queue,
    "ray": ray,
}


# --- what is measured --------------------------------------------------------------------


def do_job(call: Call, job: str, seconds: float) -> float:
    """Return how long a touch takes, in microseconds, or the rate of an echo, in MiB/s."""
    how, size = job.split()
    step = partial(call, how, numpy.ones(int(size), "u1"))
    if how == "echo":
        return measure_rate(step, seconds, weight=int(size) / MIB)
    return 1e6 / measure_rate(step, seconds)


def main() -> None:
    """Be the side that the command line names."""
    with COPIES[sys.argv[1]]() as call:
        for line in sys.stdin:
            print(json.dumps(do_job(call, *json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
