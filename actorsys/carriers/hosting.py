"""A participant in its own process: it is made here, and here its loop and its link meet."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import inspect
import uuid
from collections.abc import Callable
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor, Context, MsgStream, current_actor
from ..actor.parcels import Parcel
from ..actor.runtime import open_services
from ..bridges import Bridge
from ..channel import context
from ..errors import CarrierError
from .carrier import find_start
from .content import ContentCodec
from .frames import Item, ToHub, ToParticipant
from .hub_carrier import HubCarrier
from .link import Link
from .offered import find_offered
from .outgoing import Outgoing


class Verb:
    """What the run asks of a participant."""

    START = "start"  # the content of the first message
    COORDINATE = "coordinate"  # the content that the coordinator begins with
    READ = "read"  # the name of a function that is given the algorithm


@context
@enable_ki_protection
async def host_participant(
    ctx: Context, address: int, count: int, factory: str, args: list[Any], kwargs: dict[str, Any]
) -> None:
    """Be the participant *address* of *count*, until the caller ends the context."""
    actor = current_actor()
    bridge = actor.bridge
    if bridge is None:
        raise CarrierError("a participant needs an actor that was started with asyncio=True")
    make = find_offered(actor.exposure, factory)
    algorithm = await bridge.run(_call, make, args, kwargs)
    await ctx.started()
    async with ctx.open_stream() as stream, open_services() as services:
        link = Link(stream)
        services.start_soon(link.run)
        host = Host(actor, bridge, algorithm, link)
        await host.run(address, range(1, count + 1), stream)


async def _call(make: Callable[..., Any], args: list[Any], kwargs: dict[str, Any]) -> Any:
    return make(*args, **kwargs)


class Host:
    """One participant, between the trio side and the asyncio side of its process.

    Owned by the trio side; what runs in the loop says so.
    """

    def __init__(self, actor: Actor, bridge: Bridge, algorithm: Any, link: Link) -> None:
        self._limits = actor.limits
        self._exposure = actor.exposure
        self._bridge = bridge
        self._algorithm = algorithm
        self._codec = ContentCodec(actor.limits, actor.uid)
        self._outgoing = Outgoing(actor.limits, bridge.post, link.send)
        self._commands: dict[int, asyncio.Task[Any]] = {}  # of the loop
        self._failure: BaseException | None = None
        self._scope = trio.CancelScope()

    def __repr__(self) -> str:
        return f"<Host of {type(self._algorithm).__name__}: {len(self._commands)} commands>"

    async def run(self, address: int, addresses: range, items: MsgStream) -> None:
        """Pass on *items* to a carrier until they end, a handler fails, or this is cancelled."""
        carrier = await self._bridge.run(self._make_carrier, address, addresses)
        try:
            with self._scope:
                async for item in items:
                    self._bridge.call_soon(self._on_item, carrier, item)
        finally:
            with trio.CancelScope(shield=True):  # whoever does not end is killed in the end
                await self._bridge.run(carrier.aclose)
        if self._failure is not None:
            raise self._failure

    def _fail(self, error: BaseException) -> None:
        """End the participant with *error*; its caller is told."""
        self._failure = self._failure or error
        self._scope.cancel()

    # --- in the loop ---------------------------------------------------------------------

    async def _make_carrier(self, address: int, addresses: range) -> HubCarrier:
        fail = functools.partial(self._bridge.post, self._fail)
        return HubCarrier(
            address, addresses, self._algorithm, self._codec, self._limits, self._outgoing, fail
        )

    def _on_item(self, carrier: HubCarrier, item: Item) -> None:
        if item[0] == ToParticipant.COMMAND:
            _, number, verb, argument = item
            task = carrier.tasks.spawn(f"{verb} {number}", self._execute, carrier, verb, argument)
            self._commands[number] = task
            task.add_done_callback(functools.partial(self._tell_done, number))
        elif item[0] == ToParticipant.CANCEL:
            with contextlib.suppress(KeyError):
                self._commands[item[1]].cancel()
        else:
            carrier.on_item(item)

    def _tell_done(self, number: int, task: asyncio.Task[tuple[bool, Parcel]]) -> None:
        del self._commands[number]
        if task.cancelled():  # maybe before it began
            outcome = True, self._codec.pack_error(asyncio.CancelledError("it was cancelled"))
        else:
            outcome = task.result()
        self._outgoing.tell(ToHub.DONE, number, *outcome)

    async def _execute(self, carrier: HubCarrier, verb: str, argument: Any) -> tuple[bool, Parcel]:
        """Do what was asked for; return whether that has failed, and its result or error."""
        try:
            return False, self._codec.pack(await self._work(carrier, verb, argument))
        except asyncio.CancelledError:
            raise
        except BaseException as error:
            return True, self._codec.pack_error(error)

    async def _work(self, carrier: HubCarrier, verb: str, argument: Any) -> Any:
        if verb == Verb.READ:
            result = find_offered(self._exposure, argument)(self._algorithm)
            return await result if inspect.isawaitable(result) else result
        content = self._codec.unpack(argument)
        if verb == Verb.START:
            carrier.send_to_other(content, carrier.others()[0])
            return None
        meta = {"sender": carrier.get_address(), "message_id": uuid.uuid4()}
        return await find_start(self._algorithm)(carrier, content, meta)
