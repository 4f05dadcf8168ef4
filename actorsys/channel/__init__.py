"""The link: one authenticated, multiplexed connection to one peer.

This floor joins a transport to the wire. It knows which call a frame belongs to, who may call
what, and how an exception becomes a message. It does not know where a peer comes from, nor what
a function is run with: that is given to it from above.
"""

from .call import IncomingCall, OutgoingCall
from .channel import Channel, ChannelStatistics
from .dispatch import RuntimeCall, Service
from .exposure import Exposure, Target, context, qualify
from .flow import Flow
from .open import accept_channel, connect_channel
from .outbox import Outbox
from .remote_errors import pack_error, unpack_error

__all__ = [
    "Channel",
    "ChannelStatistics",
    "Exposure",
    "Flow",
    "IncomingCall",
    "Outbox",
    "OutgoingCall",
    "RuntimeCall",
    "Service",
    "Target",
    "accept_channel",
    "connect_channel",
    "context",
    "pack_error",
    "qualify",
    "unpack_error",
]
