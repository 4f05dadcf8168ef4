"""What can be asked of a bridge, and what of it makes no sense."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

BridgeKind = Literal["thread", "guest"]
"""``"thread"``: asyncio has a thread of its own. ``"guest"``: asyncio has the main thread, and trio
runs inside its loop."""


class BridgeOptions(NamedTuple):
    """The asyncio loop that an actor is to have: *kind* is None for none at all."""

    kind: BridgeKind | None = None
    uvloop: bool = False

    @classmethod
    def check(cls, asyncio: bool | BridgeKind, uvloop: bool) -> BridgeOptions:
        """Return the options behind the arguments ``asyncio=`` and ``uvloop=``.

        Raises:
          ValueError: they are none of those that there are, or contradict each other.
        """
        if asyncio is not True and asyncio is not False and asyncio not in get_args(BridgeKind):
            raise ValueError(f'asyncio is True, False, "thread" or "guest", not {asyncio!r}')
        if uvloop is not True and uvloop is not False:
            raise ValueError(f"uvloop is True or False, not {uvloop!r}")
        if uvloop and not asyncio:
            raise ValueError("uvloop is a loop for asyncio; ask for asyncio=True as well")
        if asyncio is True:
            return cls("thread", uvloop)
        return cls(asyncio or None, uvloop)
