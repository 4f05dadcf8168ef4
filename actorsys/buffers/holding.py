"""What a process has of one buffer, its own or another's, and who uses it there."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable
from typing import Any

import trio

from ..errors import BufferFault
from .block import Block, BorrowedBlock
from .janitor import Janitor
from .layout import Layout


class Holding:
    """A block as one buffer, and how many use it in this process: handles, views, leases.

    When the last of them has let it go, *on_unused* is called. ``fault`` says why it is not to be
    used any more, while those who have it already still do. ``handle`` is its first one.
    """

    def __init__(
        self,
        block: Block | BorrowedBlock,
        layout: Layout,
        janitor: Janitor,
        on_unused: Callable[[Holding], None],
    ) -> None:
        self.block = block
        self.address = block.address
        self.layout = layout
        self.fault: BufferFault | None = None
        self.users = 0
        self._counting = threading.RLock()  # garbage may be collected inside
        self.handle: weakref.ref[Any] | None = None
        self._arrays: list[weakref.ref[Any]] = []
        self._janitor = janitor
        self._on_unused = on_unused

    def __repr__(self) -> str:
        kind = "own" if self.is_own else "borrowed"
        state = f", {self.fault}" if self.fault else ""
        return f"<Holding {self.address}: {kind}, {self.layout!r}, {self.users} users{state}>"

    @property
    def is_own(self) -> bool:
        """Whether the memory belongs to this process."""
        return isinstance(self.block, Block)

    def grab(self) -> None:
        """Count one who uses it; from any thread."""
        with self._counting:
            self.users += 1

    def drop(self) -> None:
        """Count one less; the last one gives it back. Only in the thread of the loop."""
        with self._counting:
            self.users -= 1
            is_last = not self.users
        if is_last:
            self._on_unused(self)

    def drop_soon(self) -> None:
        """As `drop`, for finalizers, which run at any time and in any thread."""
        self.soon(self.drop)

    def soon(self, task: Callable[[], None]) -> None:
        """Have *task* done when this tick of the loop ends; from any thread."""
        self._janitor.post(task)

    @property
    def device(self) -> str:
        """Where its bytes are."""
        return "cpu"

    async def wait_settled(self) -> None:
        """Wait until nothing stands in the way of giving back what was let go."""
        await trio.lowlevel.checkpoint()

    def order(self) -> list[Any]:
        """Return what whoever gets it has to wait for: of memory on the host, nothing."""
        return []

    def keep_order(self) -> None:
        """Have whoever gets it later come after what is queued by now, on the stream of now."""
        self.put_after(self.order())

    def put_after(self, told: list[Any]) -> None:
        """Take what `order` has returned at whoever has handed it over.

        Raises:
          ValueError: it means nothing.
        """
        if told:
            raise ValueError("memory on the host comes with no marks")

    def checked(self) -> Holding:
        """Return it, or raise why it is not to be used any more."""
        if self.fault is not None:
            raise type(self.fault)(str(self.fault))
        return self

    def array(self) -> Any:
        """Return it as a NumPy array; it counts as a user until the last view of it is gone."""
        if not self.layout.nbytes:
            return self.layout.array(None)
        array = self.layout.array(self.raw())
        if self.is_own and not self.block.is_frozen:
            self._arrays = [kept for kept in self._arrays if kept() is not None]
            self._arrays.append(weakref.ref(array))
        return array

    def raw(self) -> Any:
        """Return its block as a NumPy array of bytes, else as `array`."""
        import numpy

        return numpy.asarray(self.exposed())

    def exposed(self) -> Exposed:
        """Return its bytes as NumPy takes them, else as `array`."""
        return Exposed(self)

    def freeze(self) -> None:
        """Let nobody write to it any more.

        Raises:
          BufferFault: it belongs to another process, or another one may write to it.
        """
        if not isinstance(self.block, Block):
            raise BufferFault(
                f"buffer {self.address} can only be frozen by the actor it belongs to"
            )
        try:
            self.block.freeze()
        except BlockingIOError:
            raise BufferFault(
                f"buffer {self.address} was handed over before, and may be written to there; "
                f"freeze it before it is handed over"
            ) from None
        for kept in self._arrays:
            array = kept()
            if array is not None:
                array.flags.writeable = False


class Exposed:
    """The bytes of a holding, as NumPy takes them; every view keeps it, and it keeps the bytes."""

    def __init__(self, holding: Holding) -> None:
        mapping = holding.block.mapping
        self.__array_interface__ = {
            "version": 3,
            "typestr": "|u1",
            "shape": (mapping.size,),
            "data": (mapping.address, not mapping.is_writable),
        }
        holding.grab()
        self._holding = holding

    def __repr__(self) -> str:
        return f"<Exposed {self._holding!r}>"

    def __del__(self) -> None:
        if hasattr(self, "_holding"):
            self._holding.drop_soon()
