"""Contents and errors as parcels. Packed once, where a message is sent, and opened once."""

from __future__ import annotations

from typing import Any

from ..actor import parcels
from ..actor.parcels import Parcel
from ..channel.remote_errors import pack_error, unpack_error
from ..errors import ActorsysError, BufferFault, EncodeError, LimitExceeded, Uid
from ..limits import Limits

_AROUND_BYTES = 1024  # what a frame has beside the content


class ContentCodec:
    """Packs and unpacks values for one participant, from any thread."""

    def __init__(self, limits: Limits, uid: Uid) -> None:
        self._limits = limits
        self._uid = uid
        self._max_bytes = max(1, limits.max_message_bytes - _AROUND_BYTES)

    def __repr__(self) -> str:
        return f"<ContentCodec of {self._uid[0]!r}>"

    def pack(self, value: Any) -> Parcel:
        """Return *value* as a parcel; what becomes of it later does not matter.

        Raises:
          EncodeError: a part of it cannot travel; its type is named.
          LimitExceeded: it is larger than a message may be.
          BufferFault: a buffer in it cannot be used any more.
        """
        parcel = parcels.pack(value)
        size = parcels.size_of(parcel)
        if size > self._max_bytes:
            raise LimitExceeded(
                f"the content takes {size:,} bytes, and a message at most {self._max_bytes:,} "
                f"(limits.max_message_bytes); large arrays can be handed over in buffers"
            )
        return parcel

    def unpack(self, parcel: Parcel) -> Any:
        """Return the value that was packed, in memory of its own, but for its buffers.

        Raises:
          EncodeError: a part of it means nothing in this process.
          BufferFault: a buffer in it is not to be had any more.
        """
        try:
            return parcels.unpack(parcel)
        except BufferFault:
            raise
        except ActorsysError as error:
            raise EncodeError(str(error)) from error

    def pack_error(self, error: BaseException) -> Parcel:
        """Return *error*, raised by this participant, as a parcel."""
        return self.pack(pack_error(error, self._uid, self._limits, self._measure))

    def unpack_error(self, parcel: Parcel) -> BaseException:
        """Return the error that was packed, as a `RemoteActorError`."""
        return unpack_error(parcels.unpack(parcel), self._limits)

    def _measure(self, value: Any) -> int | None:
        try:
            return parcels.size_of(self.pack(value))
        except ActorsysError:
            return None
