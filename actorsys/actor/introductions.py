"""Links between any two actors of a tree, on demand, under keys that the root has made.

Who wants a link asks the root, through its parents. The root makes a key, has the other one expect
the guest under it, and returns where to connect. Nobody can pose as somebody else: the guest's name
is the one that it has proved to its parent, on the way up.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel, Exposure, RuntimeCall, connect_channel
from ..channel.dispatch import RuntimeFunction
from ..errors import ActorUnavailable, HandshakeError, LimitExceeded, Uid
from ..wire import Credentials
from ..wire.handshake import KEY_BYTES
from ..wire.messages import parse_uid
from .directory import (
    AWAIT_ACTOR,
    LIST_ACTORS,
    LOOK_UP,
    REGISTER,
    UNREGISTER,
    ask,
    read_uids,
    write_uids,
)
from .runtime import Actor
from .serve import make_channel

INTRODUCE = "introduce"
ADMIT = "admit"


class Invitation(NamedTuple):
    """Where a guest is expected, and the key that it has to hold."""

    address: str
    key: bytes


# --- what the tree asks of an actor -------------------------------------------------------


def calls_of_child(actor: Actor) -> Mapping[str, RuntimeCall]:
    """Return what a child of *actor* may ask it, and is answered."""
    return {
        LOOK_UP: functools.partial(_look_up, actor),
        AWAIT_ACTOR: functools.partial(_await_actor, actor),
        LIST_ACTORS: functools.partial(_list_actors, actor),
        INTRODUCE: functools.partial(_introduce, actor),
    }


def notices_of_child(actor: Actor) -> Mapping[str, RuntimeFunction]:
    """Return what a child of *actor* may tell it."""
    return {REGISTER: actor.directory.on_register, UNREGISTER: actor.directory.on_unregister}


def calls_of_parent(actor: Actor) -> Mapping[str, RuntimeCall]:
    """Return what the parent of *actor* may ask it, and is answered."""
    return {ADMIT: functools.partial(_admit, actor)}


async def _look_up(actor: Actor, channel: Channel, *, name: str) -> Any:
    return [found.pack() for found in await actor.directory.look_up(name)]


async def _await_actor(actor: Actor, channel: Channel, *, name: str, ignored: list[Any]) -> Any:
    found = await actor.directory.await_actor(name, read_uids(ignored))
    return found.pack()


async def _list_actors(actor: Actor, channel: Channel) -> Any:
    return [found.pack() for found in await actor.directory.list_actors()]


async def _introduce(
    actor: Actor, channel: Channel, *, target: list[str], below: list[Any]
) -> list[Any] | None:
    guest = [channel.session.peer_uid, *read_uids(below)]
    invitation = await introduce(actor, parse_uid(target), guest)
    return None if invitation is None else list(invitation)


async def _admit(
    actor: Actor, channel: Channel, *, path: list[Any], guest: list[str], key: bytes
) -> str | None:
    return await admit(actor, read_uids(path), parse_uid(guest), key)


# --- the root's part ----------------------------------------------------------------------


async def introduce(actor: Actor, target: Uid, guest: list[Uid]) -> Invitation | None:
    """Have *target* expect a guest; None if there is no such actor any more.

    *guest* is the path to the guest from here, nothing for this actor itself.
    """
    registry = actor.directory.registry
    if registry is None:
        answer = await actor.directory.ask_parent(
            INTRODUCE, target=list(target), below=write_uids(guest)
        )
        return None if answer is None else Invitation(*answer)
    path: tuple[Uid, ...] = ()
    if target != actor.uid:
        entry = await registry.get(target)
        if entry is None:
            return None
        path = entry.path
    key = actor.host.chance.randbytes(KEY_BYTES)
    address = await admit(actor, list(path), guest[-1] if guest else actor.uid, key)
    return None if address is None else Invitation(address, key)


# --- the host's part ----------------------------------------------------------------------


async def admit(actor: Actor, path: list[Uid], guest: Uid, key: bytes) -> str | None:
    """Have the actor at the end of *path* expect *guest*, once; return where it is to connect.

    None says that there is no such actor any more.

    Raises:
      LimitExceeded: the guest has too many links to it already.
    """
    if not path:
        return await _expect(actor, guest, key)
    kin = actor.directory.children.get(path[0])
    if kin is None:
        return None
    try:
        address: str | None = await ask(
            kin.channel, ADMIT, path=write_uids(path[1:]), guest=list(guest), key=key
        )
    except ActorUnavailable:
        return None
    return address


async def _expect(actor: Actor, guest: Uid, key: bytes) -> str:
    links = sum(channel.session.peer_uid == guest for channel in actor.channels)
    if links >= actor.limits.max_links_per_peer:
        raise LimitExceeded(
            f"{guest[0]!r} has {links} links to {actor.name!r} (limits.max_links_per_peer)"
        )
    address = await actor.reception.address()
    await actor.services.start(_serve_guest, actor, guest, key)
    return address


@enable_ki_protection
async def _serve_guest(
    actor: Actor, guest: Uid, key: bytes, task_status: trio.TaskStatus[None]
) -> None:
    """Wait for *guest*, who has been told to come, and serve its link."""
    with actor.reception.expect(guest, key) as expected:
        task_status.started()
        try:
            with trio.move_on_after(actor.limits.introduction_seconds):
                await expected.arrived.wait()
        finally:  # a link that has come while this is cancelled wants to be closed
            if expected.connection is not None:
                await actor.run_channel(make_channel(actor, expected.connection, actor.exposure))


# --- the guest's part ---------------------------------------------------------------------


@enable_ki_protection
async def open_direct_link(actor: Actor, target: Uid) -> Channel:
    """Open a link to any actor of the tree; `Actor.run_channel` serves it.

    Raises:
      ActorUnavailable: there is no such actor any more, or it does not answer.
    """
    invitation = await introduce(actor, target, [])
    if invitation is None:
        raise ActorUnavailable(f"actor {target[0]!r} has ended", may_have_run=False)
    credentials = Credentials(actor.uid, {target: invitation.key}.get)
    try:
        transport = await actor.host.connect(invitation.address)
        session, rest = await connect_channel(transport, credentials, actor.limits)
    except (OSError, HandshakeError) as error:
        raise ActorUnavailable(
            f"actor {target[0]!r} cannot be reached: {error}", may_have_run=False
        ) from error
    return make_channel(actor, (transport, session, rest), Exposure())
