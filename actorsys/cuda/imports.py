"""The slabs of other processes that this one has mapped: each once, however many lie in it."""

from __future__ import annotations

from ..errors import BufferFault, BufferLost, DeviceUnavailable, NotReachable
from ..memory import FileAddress, GuestBook, SharedFile, is_alive
from .runtime import CudaRuntime
from .slabs import RangeAddress


class Import:
    """The slab of another process, mapped here. Owned by `Imports`, which counts ``users``."""

    def __init__(self, runtime: CudaRuntime, address: RangeAddress) -> None:
        self.control = address.control
        self.size = address.slab_bytes
        self.users = 0
        self.is_resting = False
        file = _open_control(address.control)
        try:
            self._mapping = file.map(0, GuestBook.SIZE_BYTES)
            try:
                self._enter(runtime, file, address.handle)
            except BaseException:
                self._mapping.close()
                raise
        finally:
            file.close()  # the mapping keeps its locks

    def __repr__(self) -> str:
        return f"<Import at {self.base:#x} of process {self.control.pid}: {self.users} users>"

    def _enter(self, runtime: CudaRuntime, file: SharedFile, handle: bytes) -> None:
        self._book = GuestBook(file, self._mapping)
        try:
            self._line = self._book.enter()
        except OSError as error:
            raise BufferFault(f"device memory of process {self.control.pid}: {error}") from None
        try:
            self.base = runtime.open_memory(handle)
        except BaseException as error:
            self._book.leave(self._line)
            if not isinstance(error, DeviceUnavailable):
                raise
            raise NotReachable(
                f"device memory of process {self.control.pid} cannot be mapped here, it may be in "
                f"another container or on another part of the GPU; send a copy: {error}"
            ) from error

    def close(self, runtime: CudaRuntime) -> None:
        """Undo the mapping, and then say so."""
        runtime.close_memory(self.base)  # if that fails, the book says truly that it is mapped
        self._book.leave(self._line)
        self._mapping.close()


def _open_control(address: FileAddress) -> SharedFile:
    """Open the control file of a slab.

    Raises:
      BufferLost, BufferFault: it is not to be had.
    """
    try:
        file = SharedFile.open(address)
    except (OSError, ValueError) as error:
        fault = BufferFault if is_alive(address.pid) else BufferLost
        raise fault(f"device memory of process {address.pid} is not to be had: {error}") from None
    if file.size < GuestBook.SIZE_BYTES:
        file.close()
        raise BufferFault(f"process {address.pid} tells of device memory that is none")
    return file


class Imports:
    """What this process has mapped of one device. Owned by a `Gpu`, under whose lock it is used.

    What nobody uses rests for a while: to map a slab takes long.
    """

    def __init__(self, runtime: CudaRuntime, number: int) -> None:
        self._runtime = runtime
        self._number = number
        self._imports: dict[FileAddress, Import] = {}

    def __repr__(self) -> str:
        return f"<Imports: {len(self._imports)}>"

    def __len__(self) -> int:
        return len(self._imports)

    @property
    def has_unused(self) -> bool:
        """Whether there is any that nobody uses."""
        # Others may map a slab meanwhile, in threads.
        return any(not found.users for found in list(self._imports.values()))

    def open(self, address: RangeAddress) -> Import:
        """Return the slab of *address*, counted as used; `close` it.

        Raises:
          NotReachable, BufferLost, BufferFault: it is not to be had.
        """
        found = self._imports.get(address.control)
        if found is None:
            with self._runtime.on(self._number):
                found = self._imports[address.control] = Import(self._runtime, address)
        if address.offset >= found.size or address.slab_bytes != found.size:
            raise BufferFault(f"process {address.control.pid} tells two sizes of one slab")
        found.users += 1
        found.is_resting = False
        return found

    def close(self, found: Import) -> None:
        """Count one less who uses it; the work on it is done."""
        found.users -= 1

    def sweep(self, *, is_last: bool = False) -> None:
        """Undo the mappings that nobody has used since the last time; or that nobody uses."""
        for found in list(self._imports.values()):
            if found.users:
                continue
            if found.is_resting or is_last:
                del self._imports[found.control]
                with self._runtime.on(self._number):
                    found.close(self._runtime)
            found.is_resting = True
