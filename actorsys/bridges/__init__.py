"""An asyncio loop beside trio, in one process: calls, cancellation and errors cross both ways.

This floor knows trio, asyncio and the actor it stands in; it does not know who starts actors.
asyncio is imported here alone, when a bridge is opened.
"""

from .bridge import Bridge
from .open_bridge import open_actor_bridge, open_bridge
from .options import BridgeKind, BridgeOptions
from .to_asyncio import to_asyncio, to_trio

__all__ = [
    "Bridge",
    "BridgeKind",
    "BridgeOptions",
    "open_actor_bridge",
    "open_bridge",
    "to_asyncio",
    "to_trio",
]
