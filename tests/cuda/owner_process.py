"""A process with a fake device that does what it is told, line by line; for tests of two processes.

Run as a script: reads names of functions and their arguments, and prints what they return.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Any

import actorsys
from actorsys.cuda import Gpu, Mark, Place, RangeAddress, find_gpu
from actorsys.testing import fake_cuda


class Owner:
    """The functions of the process."""

    def __init__(self) -> None:
        self.runtime = fake_cuda.install(devices=2)
        self.gpu: Gpu = find_gpu("cuda:0")
        self._taken: list[Any] = []

    def take(self, size: int) -> list[Any]:
        """Take memory of zeros; return its address."""
        taken = self.gpu.take(size)
        self.gpu.zero(taken, size)
        self._taken.append(taken)
        return self.gpu.address(taken).pack()

    def array(self, index: int, count: int) -> Any:
        import numpy

        place = self._taken[index].place
        return self.runtime.array(place, (count,), numpy.dtype("f4"), "C", None)

    def fill(self, index: int, count: int, value: float) -> list[Any]:
        """Queue filling memory that was taken; return a mark."""
        self.array(index, count)[:] = value
        return list(self.gpu.mark())

    def read(self, index: int, count: int) -> list[float]:
        values: list[float] = self.array(index, count).tolist()
        return values

    def give_back(self) -> int:
        """Give all back; return how many bytes the slabs have."""
        for taken in self._taken:
            self.gpu.give_back(taken)
        self._taken.clear()
        return self.gpu.slab_bytes

    def tidy(self) -> int:
        self.gpu.tidy()
        return self.gpu.slab_bytes

    def free_by_force(self) -> str:
        """Free a slab, whoever has it mapped."""
        try:
            self.runtime.free(self._taken[0].slab.base)
        except fake_cuda.CudaRuleBroken as error:
            return str(error)
        return "freed"

    def handle(self, kind: str) -> bytes:
        """Return a handle of memory that was not made for that."""
        pointer = self.runtime.malloc_async(4096) if kind == "pool" else self.runtime.malloc(4096)
        return self.runtime.export_memory(pointer)

    def destroy_events(self) -> None:
        for event, _ in list(self.gpu._events._own):
            self.runtime.destroy_event(event)


class OwnerProcess:
    """An `Owner` in another process; `call` its functions."""

    def __init__(self) -> None:
        root = str(Path(actorsys.__file__).parent.parent)
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={"PYTHONPATH": root},
        )

    def call(self, name: str, *args: Any) -> Any:
        stdin, stdout = self.process.stdin, self.process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{(name, args)!r}\n")
        stdin.flush()
        return ast.literal_eval(stdout.readline())

    def take(self, size: int = 4096) -> RangeAddress:
        return RangeAddress.checked(self.call("take", size), size)

    def fill(self, index: int, count: int, value: float) -> Mark:
        return Mark.checked(self.call("fill", index, count, value))

    def end(self) -> None:
        self.process.kill()
        self.process.communicate()


def place_of(address: RangeAddress, base: int) -> Place:
    return Place(base, address.slab_bytes, address.offset)


def serve() -> None:
    owner = Owner()
    for line in sys.stdin:
        name, args = ast.literal_eval(line)
        print(repr(getattr(owner, name)(*args)), flush=True)


if __name__ == "__main__":
    serve()
