"""Notice that a peer on another machine has fallen silent.

A broken network says nothing: without this, a call over it would wait for ever. It is for such
links only. A process of this host is judged by what the kernel says of it, so that one that is
busy, stopped in a debugger or stuck in C is never given up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from ..errors import ChannelBroken

if TYPE_CHECKING:
    from .channel import Channel

PING = "ping"
"""The function of every runtime that does nothing but answer."""


async def wait_silent(channel: Channel) -> ChannelBroken:
    """Ping the peer again and again; return when it has left several pings without any sign.

    Pings are counted, not seconds: while this process itself was held up, none were sent, and the
    answers to those before are still to be read.
    """
    limits = channel.limits
    unanswered, reads = 0, channel.reads
    while unanswered < limits.max_unanswered_pings:
        channel.send_runtime_call(PING, {})
        await trio.sleep(limits.ping_seconds)
        unanswered = unanswered + 1 if channel.reads == reads else 0
        reads = channel.reads
    seconds = limits.ping_seconds * limits.max_unanswered_pings
    return ChannelBroken(f"the peer has been silent for more than {seconds:g} s")
