"""The main task of a child: connect to the parent, answer calls, end in good order."""

from __future__ import annotations

import types
from typing import Any

import trio

from ..actor import Actor, Host, make_channel, open_runtime
from ..actor.introductions import calls_of_parent
from ..bridges import open_actor_bridge
from ..channel import Channel, Exposure, connect_channel
from ..limits import Limits
from ..wire import Credentials
from .spec import ActorSpec

LINK_LOST = 74  # EX_IOERR of sysexits.h
_HURRY_SECONDS = 0.1  # what SIGTERM leaves to clean up in, of the time before SIGKILL


async def serve(spec: ActorSpec, modules: list[types.ModuleType], host: Host) -> int:
    """Be the actor of *spec* on *host* until the parent asks it to stop or is gone.

    Returns the exit code.
    """
    limits = Limits(**spec.limits)
    async with (
        open_runtime(
            spec.uid, spec.parent_uid, limits, host, spec.transport, root_uid=spec.root_uid
        ) as actor,
        # Asyncio code that does not end is for the parent to kill, as all code that does not.
        open_actor_bridge(actor, spec.bridge, abandon=False),
    ):
        keys = {spec.parent_uid: spec.key}
        transport = await host.connect(spec.address)
        session, rest = await connect_channel(transport, Credentials(spec.uid, keys.get), limits)
        actor.exposure = Exposure(modules)
        functions = {"stop": lambda channel, kwargs: _on_stop(actor, channel, kwargs)}
        connection = transport, session, rest
        actor.directory.parent = make_channel(
            actor, connection, actor.exposure, functions, calls=calls_of_parent(actor)
        )
        return await _serve_link(actor, actor.directory.parent)


async def _serve_link(actor: Actor, channel: Channel) -> int:
    async with trio.open_nursery() as tasks:
        tasks.start_soon(actor.run_channel, channel)
        tasks.start_soon(_stop_when_lost, actor, channel)
        tasks.start_soon(_stop_on_sigterm, actor)
        await actor.stopping.wait()
        # If the parent lives, it shall know that this was no end of our own accord.
        exit_code = 0 if channel.is_open else LINK_LOST
        await _end_calls(actor)
        tasks.cancel_scope.cancel()
    return exit_code


async def _end_calls(actor: Actor) -> None:
    """Cancel what still runs and let it clean up; its callers are told."""
    request = actor.stop_request
    assert request is not None
    channels = list(actor.channels)
    for channel in channels:
        channel.cancel_incoming(request.canceller, "the actor is being stopped")
    for channel in channels:
        await channel.table.wait_idle()
        await channel.wait_flushed()
    await actor.buffer_access.wait_accepted()


async def _stop_when_lost(actor: Actor, channel: Channel) -> None:
    await channel.lost.wait()
    assert actor.parent_uid is not None
    actor.request_stop(actor.parent_uid, actor.limits.stop_grace_seconds)


async def _stop_on_sigterm(actor: Actor) -> None:
    """SIGTERM means: end, and hurry."""
    while True:
        await actor.host.wait_sigterm()
        actor.request_stop(actor.uid, _HURRY_SECONDS)


def _on_stop(actor: Actor, channel: Channel, kwargs: dict[str, Any]) -> None:
    """Answer the runtime call ``stop``, which only the parent can make."""
    grace = kwargs.get("grace")
    if not isinstance(grace, (int, float)) or not grace >= 0:
        grace = actor.limits.stop_grace_seconds
    actor.request_stop(channel.session.peer_uid, grace)
