"""What a process has of one buffer whose bytes are on a device."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ..cuda import Gpu, Import, Mark, Place, RangeAddress, find_gpu_by_uuid
from ..errors import BufferFault, NotReachable
from ..memory import is_alive
from .block import Block, BorrowedBlock
from .holding import Exposed, Holding
from .janitor import Janitor
from .layout import Layout

MAX_MARKS = 64
"""So many come with one buffer at most. One is the rule: whoever uses the array makes one of those
that he was told. More come from who only hands on what he has got from several: one of each."""


class DeviceHolding(Holding):
    """As `Holding`, of bytes that are at *where* on a device.

    They are mapped when they are first asked for: who only hands a buffer on needs no device.
    *on_used* is called then. *wait_settled* waits for the work on what was let go on a device.
    """

    def __init__(
        self,
        block: Block | BorrowedBlock,
        layout: Layout,
        janitor: Janitor,
        on_unused: Callable[[Holding], None],
        where: RangeAddress,
        on_used: Callable[[], None],
        wait_settled: Callable[[Gpu | None], Awaitable[None]],
    ) -> None:
        super().__init__(block, layout, janitor, on_unused)
        self.where = where
        self._on_used = on_used
        self._wait_settled = wait_settled
        self._gpu: Gpu | None = None
        self._import: Import | None = None
        self._marks: dict[Mark, None] = {}
        self._last_mark: Mark | None = None
        self.ends = 0
        """How often nobody used it any more: it may come again while work on it is waited for."""

    @property
    def device(self) -> str:
        """The name of the device in this process, or where it is not seen, that of everywhere."""
        try:
            return find_gpu_by_uuid(self.where.uuid).name
        except BufferFault:
            return f"cuda:{self.where.uuid}"

    @property
    def used_on(self) -> Gpu | None:
        """The device, if an array was given out: work on it may be queued."""
        return self._gpu

    def array(self) -> Any:
        """Return it as an array of the device, after the work of others that comes before.

        Raises:
          DeviceUnavailable, NotReachable, BufferLost: it cannot be mapped here.
        """
        with self._counting:
            place = self._place()
            gpu = self._gpu
            assert gpu is not None
            gpu.note_user()
            self._wait(gpu)
        layout = self.layout
        with gpu.runtime.on(gpu.number):
            return gpu.runtime.array(place, layout.shape, layout.dtype, layout.order, Kept(self))

    def _place(self) -> Place:
        if self._gpu is None:
            gpu = find_gpu_by_uuid(self.where.uuid)
            self._import = gpu.open(self.where)
            self._gpu = gpu
            self._on_used()
        return self._gpu.place(self.where, self._import)

    def _wait(self, gpu: Gpu) -> None:
        """Let the current stream wait for all marks; those that are done with are forgotten."""
        for mark in list(self._marks):
            if gpu.wait(mark):
                del self._marks[mark]

    def exposed(self) -> Exposed:
        """Refuse: its bytes are not on the host."""
        raise NotReachable(
            f"buffer {self.address} is on a device, where the host does not reach; copy it: "
            f"buffer.array().get()"
        )

    def freeze(self) -> None:
        """Refuse: no device keeps anybody from writing."""
        raise BufferFault(
            f"buffer {self.address} is on a device, which keeps nobody from writing to it; only "
            f"buffers on the host can be frozen"
        )

    # --- order ---------------------------------------------------------------------------

    def order(self) -> list[list[Any]]:
        """Return what has to be done before whoever gets it now uses it."""
        with self._counting:
            if len(self._marks) > MAX_MARKS:
                self._marks = {mark: None for mark in self._marks if is_alive(mark.pid)}
            if self._marks and (self.is_own or len(self._marks) > MAX_MARKS):
                self._place()
            if self._gpu is None:
                return [list(mark) for mark in self._marks]
            self._wait(self._gpu)
            # The same one each time: who only hands the buffer on keeps all that he is told.
            self._last_mark = self._gpu.mark(self._last_mark)
            return [list(self._last_mark)]

    def put_after(self, told: list[Any]) -> None:
        """Have what is done with it here come after what *told* stands for.

        Raises:
          ValueError: it stands for nothing.
        """
        if len(told) > MAX_MARKS:
            raise ValueError(f"a buffer comes with {MAX_MARKS} marks at most")
        marks = [Mark.checked(mark) for mark in told]
        with self._counting:
            self._marks.update(dict.fromkeys(marks))

    # --- its end -------------------------------------------------------------------------

    async def wait_settled(self) -> None:
        """Wait until the work on what was let go here is done, and it is given back."""
        await self._wait_settled(self._gpu)

    def unmap(self) -> None:
        """Let go of the device; the work on it is done."""
        if self._gpu is not None:
            self._gpu.close(self._import)


class Kept:
    """What an array on a device, and every view of it, keeps: it counts as a user."""

    def __init__(self, holding: Holding) -> None:
        holding.grab()
        self._holding = holding

    def __repr__(self) -> str:
        return f"<Kept {self._holding!r}>"

    def __del__(self) -> None:
        if hasattr(self, "_holding"):
            self._holding.drop_soon()
