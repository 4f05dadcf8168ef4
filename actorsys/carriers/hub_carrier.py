"""The carrier that an algorithm has in its hands: one end of a link to the hub."""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import inspect
import numbers
import uuid
from collections.abc import Callable, Collection
from contextvars import ContextVar
from typing import Any

from ..actor.parcels import Parcel, size_of
from ..errors import BufferFault, CarrierError, EncodeError, RunEnded, UnknownParticipant
from ..limits import Limits
from .carrier import Carrier, Meta
from .content import ContentCodec
from .frames import Item, ToHub, ToParticipant
from .hold import Hold
from .lane import Address
from .outgoing import Outgoing
from .replies import Future, ReplyTable, reject, settle
from .tasks import Tasks

_REPLY_TO = "actorsys.reply_to"
"""In the meta of a request: who asks, and the number of the request."""

_delivery: ContextVar[int | None] = ContextVar("actorsys.carriers.delivery", default=None)
"""The delivery whose handler runs in this context; tasks that it starts inherit it."""


class HubCarrier(Carrier):
    """Sends through a hub, and calls *algorithm* for each message that comes from there.

    Sends are possible in any thread. In the thread of the loop they return asyncio futures,
    elsewhere those of `concurrent.futures`. A content is copied within the call. Handlers are
    tasks, started in the order of arrival; everything else here belongs to the loop.

    *on_failure* is called, in the loop, with an error that no request can take. ``tasks`` are the
    handlers and what else runs for the algorithm.
    """

    def __init__(
        self,
        address: Address,
        addresses: Collection[Address],
        algorithm: Any,
        codec: ContentCodec,
        limits: Limits,
        outgoing: Outgoing,
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._address = address
        self._addresses = addresses
        self._codec = codec
        self._outgoing = outgoing
        self._algorithm = algorithm
        self._loop = asyncio.get_running_loop()
        self.tasks = Tasks(self._loop, on_failure)
        self._replies = ReplyTable(
            limits.carrier_queue_frames, lambda number: outgoing.tell(ToHub.GIVEN_UP, number)
        )
        self._asked: set[tuple[Address, int] | None] = set()
        self._steps: dict[int, Callable[..., None]] = {
            ToParticipant.MESSAGE: self._on_message,
            ToParticipant.REPLY: self._on_reply,
            ToParticipant.ACCEPTED: self._on_accepted,
            ToParticipant.LOST: self._on_lost,
        }

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} of {self._address!r}: {self.tasks!r}, "
            f"{len(self._replies)} requests, {self._outgoing!r}>"
        )

    # --- the five methods ----------------------------------------------------------------

    def send_to_other(self, content: Any, receiver: Address, meta: Meta | None = None) -> Future:
        """Send *content* to *receiver*, one way; return a future that is done once it is accepted.

        It need not be awaited. It stays pending while the receiver is far behind, so awaiting it
        keeps the sender from running ahead.

        Raises:
          UnknownParticipant: nobody has that address.
          EncodeError, LimitExceeded, BufferFault: the content, or *meta*, cannot travel.
          CarrierOverflow: too many messages wait to be accepted.
          RunEnded: the run has ended.
        """
        return self._send_message(content, receiver, None, meta or {})

    def reply_to_other(self, content: Any, meta: Meta) -> Future:
        """Answer the message that came with *meta*, now or later; return as `send_to_other`.

        The answer to a request goes to its future. The answer to a one-way message is a message to
        its sender, with the id of that message, and ``reply`` in its meta.

        Raises:
          KeyError: *meta* is none that a message came with.
          CarrierError, EncodeError, LimitExceeded, BufferFault: as `send_to_other`.
        """
        reply_to = meta.get(_REPLY_TO)
        if reply_to is None:
            extra = {**meta, "sender": self._address, "reply": True}
            return self._send_message(content, meta["sender"], None, extra)
        requester, request = reply_to
        future = self._send_reply(requester, request, False, self._codec.pack(content))
        self._asked.discard((requester, request))  # what cannot be sent is an error of the request
        return future

    def send_awaitable(self, content: Any, receiver: Address, meta: Meta | None = None) -> Future:
        """Send a request to *receiver*; return a future of the content of its reply.

        The future raises the error of a handler that failed, and `ActorDied` if the receiver is
        gone. There is no time limit: use `asyncio.wait_for`. Cancelling the future gives the
        request up, and a late reply is dropped. Raises what `send_to_other` does.
        """
        receiver = self._known(receiver)
        future = self._new_future()
        request = self._replies.add(receiver, future)
        try:
            self._send_message(content, receiver, request, meta or {})
        except BaseException:
            self._replies.discard(request)
            raise
        return future

    def others(self, participant_id: Any = None) -> list[Address]:
        """Return the addresses of all others, in order, the coordinator last."""
        return [address for address in self._addresses if address != self._address]

    def get_address(self) -> Address:
        """Return the own address."""
        return self._address

    # --- beside them ---------------------------------------------------------------------

    def hold(self) -> Hold:
        """Keep the run from being quiescent until what is returned is released.

        For what goes on after a handler has returned: call it in the handler.
        """
        return Hold(self._outgoing)

    def schedule_using(self, fn: Callable[[], Any], delay_s: float) -> asyncio.Task[None]:
        """Call *fn* in *delay_s* seconds, and wait for what it returns if that can be.

        The run is not quiescent before. An error of it fails the run. Call it in the loop.
        """
        hold = self.hold()

        async def call_later() -> None:
            await asyncio.sleep(delay_s)
            result = fn()
            if inspect.isawaitable(result):
                await result

        task = self.tasks.spawn(f"scheduled by {self._address}", call_later)

        def release(done: asyncio.Task[None]) -> None:
            if done.cancelled() or done.exception() is None:  # an error shall not look like the end
                hold.release()

        task.add_done_callback(release)
        return task

    # --- sending -------------------------------------------------------------------------

    def _send_message(
        self, content: Any, receiver: Address, request: int | None, extra: Meta
    ) -> Future:
        receiver = self._known(receiver)
        meta = {"sender": self._address, "message_id": uuid.uuid4(), **extra}
        packed = self._codec.pack([content, meta])
        future = self._new_future()
        rest = (receiver, request, packed, _delivery.get())
        self._outgoing.send(ToHub.MESSAGE, rest, size_of(packed), future)
        return future

    def _send_reply(
        self, requester: Address, request: int, is_error: bool, packed: Parcel
    ) -> Future:
        future = self._new_future()
        rest = (requester, request, is_error, packed)
        self._outgoing.send(ToHub.REPLY, rest, size_of(packed), future)
        return future

    def _known(self, receiver: object) -> Address:
        """Return the address that *receiver* is; those that NumPy has chosen from a list are."""
        is_int = isinstance(receiver, numbers.Integral) and not isinstance(receiver, bool)
        if is_int and receiver in self._addresses:
            return int(receiver)  # type: ignore[call-overload,no-any-return]
        known = ", ".join(map(repr, self._addresses))
        raise UnknownParticipant(f"nobody has the address {receiver!r}; there are {known}")

    def _new_future(self) -> Future:
        try:
            is_here = asyncio.get_running_loop() is self._loop
        except RuntimeError:
            is_here = False
        return self._loop.create_future() if is_here else concurrent.futures.Future()

    # --- receiving -----------------------------------------------------------------------

    def on_item(self, item: Item) -> None:
        """Take an item of the hub; in the loop."""
        kind, *rest = item
        if not self.tasks.is_closing:
            self._steps[kind](*rest)

    def _on_message(
        self, delivery: int, sender: Address, request: int | None, packed: Parcel
    ) -> None:
        asked = None if request is None else (sender, request)
        if asked is not None:
            self._asked.add(asked)
        name = f"message {delivery} to {self._address}"
        task = self.tasks.spawn(name, self._handle, delivery, packed, sender, asked)
        task.add_done_callback(functools.partial(self._tell_handled, delivery))

    async def _handle(
        self, delivery: int, packed: Parcel, sender: Address, asked: tuple[Address, int] | None
    ) -> None:
        _delivery.set(delivery)
        try:
            content, meta = self._unpack(packed, sender)
            if asked is not None:
                meta[_REPLY_TO] = asked
            handler = getattr(self._algorithm, "on_exchange_message", None)
            if handler is None:
                raise CarrierError(
                    f"participant {sender} sent a message to {self._address}, whose "
                    f"{type(self._algorithm).__name__} has no on_exchange_message"
                )
            await handler(self, content, meta)
        except BaseException as error:
            if asked is None or asked not in self._asked or self.tasks.is_closing:
                raise
            self._send_reply(*asked, True, self._codec.pack_error(_shown(error)))
        finally:
            self._asked.discard(asked)

    def _unpack(self, packed: Parcel, sender: Address) -> Any:
        try:
            return self._codec.unpack(packed)
        except (EncodeError, BufferFault) as error:
            raise type(error)(f"a message of participant {sender}: {error}") from None

    def _tell_handled(self, delivery: int, task: asyncio.Task[None]) -> None:
        if task.cancelled():
            self.tasks.fail(_shown(asyncio.CancelledError()))
        elif task.exception() is None:
            self._outgoing.tell(ToHub.HANDLED, delivery, False)

    def _on_reply(self, delivery: int, request: int, is_error: bool, packed: Parcel) -> None:
        if is_error:
            was_awaited = self._replies.reject(request, self._codec.unpack_error(packed))
        else:
            try:
                was_awaited = self._replies.resolve(request, self._codec.unpack(packed))
            except (EncodeError, BufferFault) as error:
                was_awaited = self._replies.reject(request, type(error)(f"a reply: {error}"))
        self._outgoing.tell(ToHub.HANDLED, delivery, not was_awaited)

    def _on_accepted(self, number: int) -> None:
        settle(self._outgoing.accepted(number), None)

    def _on_lost(self, address: Address, packed: Parcel) -> None:
        self._replies.reject_all(self._codec.unpack_error(packed), address)

    async def aclose(self) -> None:
        """Cancel what runs, and wait for it; nothing can be sent any more."""
        ended = RunEnded("the run has ended")
        for waiter in self._outgoing.close():
            reject(waiter, ended, is_told=True)
        self._replies.reject_all(ended)
        await self.tasks.aclose()


def _shown(error: BaseException) -> BaseException:
    """Return *error*, or what to tell others in place of a cancellation that nobody asked for."""
    if not isinstance(error, asyncio.CancelledError):
        return error
    return CarrierError("the handler of a message was cancelled by code of its own participant")
