"""Find other actors of the tree by their names."""

from __future__ import annotations

from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager

from ..errors import ActorUnavailable, Uid
from .current import current_actor
from .directory import Found
from .linked_peer import FoundPeer
from .portal import Portal
from .runtime import Actor, check_name


@asynccontextmanager
async def find_actor(name: str) -> AsyncIterator[Portal | None]:
    """Find an actor of this tree: yield its portal, or None if there is none called *name*.

    Of several with one name it is the oldest. The portal is to that incarnation; of a child of
    one's own it is the portal that `start_actor` has returned. The root itself is not found. The
    link that is opened is kept, and used again by whoever asks next.

    It asks the root and, where there is no link yet, the actor; one that hangs is waited for. If
    cancelled, nothing is left of it but, at most, a link.

    Raises:
      NoRuntime: there is no actor runtime here.
      ValueError: *name* is no name for an actor.
      ActorUnavailable: there is one, which cannot be reached; or the parent is lost.
      LimitExceeded: it has `Limits.max_links_per_peer` links to this actor already.
    """
    actor = current_actor()
    check_name(name, actor.limits)
    ended: set[Uid] = set()
    while found := await _look_up(actor, name, ended):
        portal = await _reach(actor, found)
        if portal is not None:
            yield portal
            return
        ended.add(found.uid)
    yield None


@asynccontextmanager
async def wait_for_actor(name: str) -> AsyncIterator[Portal]:
    """Wait until there is an actor called *name*, and yield its portal; else as `find_actor`."""
    actor = current_actor()
    check_name(name, actor.limits)
    ended: set[Uid] = set()
    while True:
        found = await actor.directory.await_actor(name, ended)
        portal = await _reach(actor, found)
        if portal is not None:
            break
        ended.add(found.uid)
    yield portal


async def actors() -> list[Portal]:
    """Return portals to all actors of this tree but its root, oldest first.

    A link is opened when a portal is first used. Until then nothing is heard of the actor behind
    it: such a portal is alive, as far as this actor knows, even if it has ended meanwhile, and only
    the first call to it raises `ActorUnavailable`.

    Raises:
      NoRuntime: there is no actor runtime here.
    """
    actor = current_actor()
    return [_portal_to(actor, found) for found in await actor.directory.list_actors()]


def portal_to_root(actor: Actor) -> Portal | None:
    """Return a portal to the root of the tree; None if that is *actor* itself."""
    if actor.directory.registry is not None:
        return None
    return FoundPeer.to(actor, actor.root_uid, None).portal


def _portal_to(actor: Actor, found: Found) -> Portal:
    kin = actor.directory.children.get(found.uid)
    if kin is not None:
        return kin.portal
    return FoundPeer.to(actor, *found).portal


async def _look_up(actor: Actor, name: str, ended: Container[Uid]) -> Found | None:
    """Return the oldest actor called *name* that has not *ended*."""
    candidates = await actor.directory.look_up(name)
    return next((found for found in candidates if found.uid not in ended), None)


async def _reach(actor: Actor, found: Found) -> Portal | None:
    """Return a portal whose link is open, or None if the actor has ended meanwhile."""
    portal = _portal_to(actor, found)
    try:
        if portal.peer.open_channel is None:
            await portal.peer.channel()
    except ActorUnavailable:
        if portal.peer.state != "gone":
            raise
        return None
    return portal
