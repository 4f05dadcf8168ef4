"""`Buffer`: memory that is handed over, and not copied."""

from __future__ import annotations

import weakref
from typing import Any

from ..errors import BufferReleased
from .holding import Holding


class Buffer:
    """An array in memory that actors share. Passed anywhere a value goes, it arrives as itself.

    Opened with `open_buffer`; what another actor hands over arrives as one as well. The memory
    belongs to the actor that opened it and ends with its process; nobody else gets it, and it is
    not used again, as long as anybody has a handle or a view of it.

    Attributes:
      id: names it in a message, for `resolve_buffer`.
      shape, dtype, nbytes: of the array; the dtype is NumPy's.
      device: where the memory is, "cpu", or "cuda:" and the number of a GPU.
    """

    def __init__(self, holding: Holding) -> None:
        self._holding = holding
        self._exposed: Any = None
        self.is_released = False
        self._is_gone = False
        if holding.handle is None or holding.handle() is None:
            holding.handle = weakref.ref(self)
        holding.grab()

    def __repr__(self) -> str:
        holding = self._holding
        layout = holding.layout
        state = "released" if self.is_released else "lost" if holding.fault else "open"
        whose = "own" if holding.is_own else "borrowed"
        return f"<Buffer {self.id}: {whose}, {state}, {layout.shape} of {layout.dtype}>"

    @property
    def id(self) -> str:
        """Its name, for messages; it is good for as long as somebody has it."""
        return str(self._holding.address)

    @property
    def shape(self) -> tuple[int, ...]:
        """The lengths of the array."""
        return self._holding.layout.shape

    @property
    def dtype(self) -> Any:
        """The NumPy dtype of the array."""
        return self._holding.layout.dtype

    @property
    def nbytes(self) -> int:
        """How many bytes the array has."""
        nbytes: int = self._holding.layout.nbytes
        return nbytes

    @property
    def device(self) -> str:
        """Where it is, "cpu" or "cuda:0"; a GPU that this process does not see has a long name."""
        return self._holding.device

    @property
    def is_own(self) -> bool:
        """Whether the memory belongs to this actor."""
        return self._holding.is_own

    @property
    def is_frozen(self) -> bool:
        """Whether nobody can write to it any more."""
        return self._holding.block.is_frozen

    # --- its bytes -----------------------------------------------------------------------

    def array(self) -> Any:
        """Return the memory itself as a NumPy array: what is written to it, everybody sees.

        The array is good for as long as there is a reference to it, or to a view of it, whatever
        becomes of the buffer. On a GPU it is a CuPy array, on which the current stream works after
        all that whoever handed it over had queued; call this again after each hand-over.

        Raises:
          BufferReleased, BufferLost: it is not to be used any more.
          NotReachable, DeviceUnavailable: it is on a GPU that is not to be had here.
        """
        return self.usable().array()

    def memoryview(self) -> memoryview:
        """Return its bytes, else as `array`; on the host only."""
        return memoryview(self.usable().raw()[: self.nbytes])

    @property
    def __array_interface__(self) -> dict[str, Any]:
        # NumPy keeps this very buffer, and not what it is told here.
        if self._exposed is None:
            self._exposed = self.usable().exposed()
        interface: dict[str, Any] = self.array().__array_interface__
        return interface

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        if not self._holding.block.is_on_device:
            raise AttributeError(f"buffer {self.id} is on the host; it has an __array_interface__")
        array = self.array()
        if self._exposed is None:
            self._exposed = array
        interface: dict[str, Any] = array.__cuda_array_interface__
        return interface

    def __dlpack__(self, **options: Any) -> Any:
        """Return its array as a DLPack capsule."""
        return self.array().__dlpack__(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """Return where it is, in the words of DLPack."""
        kind, number = self.array().__dlpack_device__()
        return int(kind), int(number)

    def freeze(self) -> None:
        """Let nobody write to it any more, the kernel sees to that; it cannot be undone.

        Not on a GPU, where nothing would see to it.

        Arrays that were taken from it here become read-only; to write through a view that was made
        of one before ends the process.

        Raises:
          BufferFault: it belongs to another actor, or one that it was handed to has it mapped to
            write to it. Freeze it before it is handed over.
        """
        self.usable().freeze()

    # --- its end -------------------------------------------------------------------------

    async def release(self) -> None:
        """Let it go; what was handed over stays good. Doing it again is nothing.

        The memory goes back when no actor has a handle or a view of it any more. On a GPU this
        waits until what was queued there is done; so does the memory, if that is cancelled.
        """
        self.release_nowait()
        await self._holding.wait_settled()

    def release_nowait(self) -> None:
        """Do as `release`; what is sent before this task waits for something still travels.

        So a function can return a buffer out of the block that it was opened in.
        """
        if not self.is_released:
            self.is_released = True
            self._holding.soon(self._let_go)

    def _let_go(self) -> None:
        self._is_gone = True
        self._holding.drop()

    def to_send(self) -> Holding:
        """Return what is behind it, to be sent; else as `usable`."""
        is_leaving = self.is_released and not self._is_gone
        return self._holding.checked() if is_leaving else self.usable()

    def usable(self) -> Holding:
        """Return what is behind it.

        Raises:
          BufferReleased, BufferLost: it is not to be used any more.
        """
        if self.is_released:
            raise BufferReleased(f"buffer {self.id} was released here; use it before that")
        return self._holding.checked()

    async def __aenter__(self) -> Buffer:
        self.usable()
        return self

    async def __aexit__(self, *exc: Any) -> None:
        self.release_nowait()

    def __del__(self) -> None:
        if not getattr(self, "is_released", True):
            self.is_released = True
            self._holding.drop_soon()
