"""Links between any two actors of a tree, on demand, under keys that the root has made.

Who wants a link asks the root, through its parents. The root makes a key, has the other one expect
the guest under it, and returns where to connect. Nobody can pose as somebody else: the guest's name
is the one that it has proved to its parent, on the way up.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Mapping
from typing import Any, NamedTuple

import trio
from trio.lowlevel import enable_ki_protection

from ..channel import Channel, Exposure, RuntimeCall, connect_channel
from ..channel.dispatch import RuntimeFunction
from ..channel.heartbeat import PING
from ..errors import (
    ActorsysError,
    ActorUnavailable,
    ContextCancelled,
    HandshakeError,
    LimitExceeded,
    NotExposed,
    Uid,
)
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
    read_path,
    read_uids,
    write_uids,
)
from .registry import Registry
from .runtime import Actor, check_name
from .serve import make_channel

INTRODUCE = "introduce"
ADMIT = "admit"

_ADDRESS_CHARS = 256  # a Unix socket has a path of up to 108, a host a name of up to 253
_RETRY_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64)
"""The most to wait after each attempt: a door that is crowded lets hundreds in within a second."""


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
    check_name(name, actor.limits)
    return [found.pack() for found in await actor.directory.look_up(name)]


async def _await_actor(actor: Actor, channel: Channel, *, name: str, ignored: list[Any]) -> Any:
    check_name(name, actor.limits)
    found = await actor.directory.await_actor(name, set(read_uids(ignored)))
    return found.pack()


async def _list_actors(actor: Actor, channel: Channel) -> Any:
    return [found.pack() for found in await actor.directory.list_actors()]


async def _introduce(
    actor: Actor, channel: Channel, *, target: list[str], below: list[Any]
) -> list[Any] | None:
    guest = [channel.session.peer_uid, *read_path(below, actor.limits)]
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

    Raises:
      NotExposed: the guest is not known where it says that it is.
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
    if guest and not await _is_known(registry, guest):
        raise NotExposed(f"{guest[-1][0]!r} is not known in this tree, and cannot be introduced")
    key = actor.host.chance.randbytes(KEY_BYTES)
    address = await admit(actor, list(path), guest[-1] if guest else actor.uid, key)
    return None if address is None else Invitation(address, key)


async def _is_known(registry: Registry, path: list[Uid]) -> bool:
    entry = await registry.get(path[-1])
    return entry is not None and entry.path == tuple(path)


# --- the host's part ----------------------------------------------------------------------


async def admit(actor: Actor, path: list[Uid], guest: Uid, key: bytes) -> str | None:
    """Have the actor at the end of *path* expect *guest*, once; return where it is to connect.

    None says that there is no such actor any more, or not for long.

    Raises:
      LimitExceeded: the guest has too many links to it already.
    """
    if not path:
        return await _expect(actor, guest, key)
    kin = actor.directory.children.get(path[0])
    if kin is None:
        return None
    try:
        address = await ask(
            kin.channel, ADMIT, path=write_uids(path[1:]), guest=list(guest), key=key
        )
    except (ActorUnavailable, ContextCancelled):  # dead, or being stopped
        return None
    is_sound = isinstance(address, str) and len(address) <= _ADDRESS_CHARS
    return address if is_sound else None


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
async def open_direct_link(actor: Actor, target: Uid) -> Channel | None:
    """Open a link to any actor of the tree, served by a task of *actor*.

    None says that there is no such actor any more. One that cannot be reached is tried again: it
    may have ended, which the next answer of the tree will say, or be crowded.

    Raises:
      ActorUnavailable: it cannot be reached, and has not ended.
    """
    for seconds in _RETRY_SECONDS:
        invitation = await introduce(actor, target, [])
        if invitation is None:
            return None
        try:
            return await _visit(actor, target, invitation)
        except (OSError, ValueError, HandshakeError) as error:
            reason = error
        await trio.sleep(actor.host.chance.uniform(0, seconds))
    raise ActorUnavailable(
        f"actor {target[0]!r} cannot be reached: {reason}", may_have_run=False
    ) from reason


async def _visit(actor: Actor, target: Uid, invitation: Invitation) -> Channel:
    """Connect to who expects this actor.

    Raises:
      OSError, ValueError, HandshakeError: it cannot be reached.
    """
    credentials = Credentials(actor.uid, {target: invitation.key}.get)
    transport = await actor.host.connect(invitation.address)
    session, rest = await connect_channel(transport, credentials, actor.limits)
    channel = make_channel(actor, (transport, session, rest), Exposure())
    actor.services.start_soon(actor.run_channel, channel)
    try:
        if await _is_admitted(channel):
            return channel
    except BaseException:
        channel.outbox.close()  # nobody will use it
        raise
    raise HandshakeError(f"it has turned this actor away: {channel.reason}")


async def _is_admitted(channel: Channel) -> bool:
    """Wait for a first answer: a peer that turns away who has proved its name says nothing."""

    async def give_up_when_lost() -> None:
        await channel.lost.wait()
        channel.fail_calls(lambda _: ActorUnavailable("lost", may_have_run=False))

    async with trio.open_nursery() as tasks:
        tasks.start_soon(give_up_when_lost)
        with contextlib.suppress(ActorsysError):  # any answer will do
            await ask(channel, PING)
        tasks.cancel_scope.cancel()
    return channel.is_open
