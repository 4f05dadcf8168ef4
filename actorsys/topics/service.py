"""What the root does for those who publish and listen in other actors. They call it by link."""

from __future__ import annotations

import logging
from typing import Any

import trio

from ..actor import Context, MsgStream, current_actor
from ..actor.parcels import Parcel, bytes_of, is_parcel
from ..channel import Flow, context
from ..errors import (
    BufferFault,
    BufferLost,
    ChannelBroken,
    ChannelClosed,
    RemoteProtocolError,
    SubscriberTooSlow,
)
from ..wire import EncodedFrame, undone_on_error
from .broker import Broker, check_fits
from .pattern import check_topic
from .subscriber import Delivery, Subscriber, WhenFull

_logger = logging.getLogger("actorsys.topics")

_UNREADABLE = b"\xc1"  # no msgpack: who listens is told that this item cannot be had
_LINK_LOST = (ChannelBroken, ChannelClosed)
"""What is raised where nobody is there any more, or this actor is leaving."""


async def publish(topic: str, parcel: Parcel) -> int:
    """Give an item to all who listen to *topic*; return how many there were."""
    broker = Broker.of(current_actor())
    check_topic(topic, broker.limits)
    return await broker.publish(topic, _checked(parcel, broker))


async def count_subscribers(topic: str) -> int:
    """Return how many listen to *topic*."""
    broker = Broker.of(current_actor())
    return broker.count(check_topic(topic, broker.limits))


@context
async def publish_all(ctx: Context, topic: str) -> int:
    """Publish what comes by the stream, and tell how many listen whenever that changes.

    Returns how many items there were.
    """
    broker = Broker.of(current_actor())
    count = broker.count(check_topic(topic, broker.limits))
    await ctx.started(count)
    published = 0
    async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
        tasks.start_soon(_tell_counts, broker, topic, count, stream)
        async for parcel in stream:
            await broker.publish(topic, _checked(parcel, broker))
            published += 1
        tasks.cancel_scope.cancel()
    return published


async def _tell_counts(broker: Broker, topic: str, count: int, stream: MsgStream) -> None:
    """Send how many listen, until whoever publishes has no more to say and wants no answer."""
    while True:
        while broker.count(topic) == count:
            await broker.changed.park()
        count = broker.count(topic)
        try:
            await stream.send(count)
        except _LINK_LOST:
            return


@context
async def subscribe(ctx: Context, pattern: str, capacity: int, when_full: WhenFull) -> None:
    """Send what is published to *pattern* by the stream; by it come counts of what was read.

    The stream ends here only if the subscription was to end when full.
    """
    broker = Broker.of(current_actor())
    with broker.subscribing(pattern, capacity, when_full) as subscriber:
        await ctx.started()
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            subscriber.send_with(lambda delivery: _send_at_once(stream.flow, delivery))
            tasks.start_soon(_send_all, subscriber, stream.flow, tasks.cancel_scope)
            async for count in stream:
                subscriber.credit(_checked_count(count))
            tasks.cancel_scope.cancel()


async def _send_all(subscriber: Subscriber, flow: Flow, scope: trio.CancelScope) -> None:
    """Send what could not be sent in the publisher's task."""
    try:
        while True:
            await flow.send_frame(_encode(flow, await subscriber.take()))
    except (SubscriberTooSlow, *_LINK_LOST):  # it is to leave, or has left
        scope.cancel()


def _send_at_once(flow: Flow, delivery: Delivery) -> bool:
    """Send an item if that is possible now; return whether it was.

    A link that is lost takes nothing: its end is for who listens, not for who publishes.
    """
    frame = _encode(flow, delivery)
    try:
        with undone_on_error(frame):
            if not flow.send_frame_nowait(frame):
                raise trio.WouldBlock
    except (trio.WouldBlock, *_LINK_LOST):
        return False
    return True


def _encode(flow: Flow, delivery: Delivery) -> EncodedFrame:
    topic, parcel, dropped = delivery
    try:
        return flow.encode([topic, parcel, dropped])
    except BufferLost:  # its lender has ended; who listens is told so when it is unpacked
        return flow.encode([topic, bytes_of(parcel), dropped])
    except BufferFault as error:  # by its name it could be had, but perhaps too early
        _logger.error("an item of topic %r cannot be passed on: %s", topic, error)
        return flow.encode([topic, _UNREADABLE, dropped])


def _checked(parcel: Any, broker: Broker) -> Parcel:
    if not is_parcel(parcel):
        raise RemoteProtocolError("what is published is a parcel")
    return check_fits(parcel, broker.limits)


def _checked_count(count: Any) -> int:
    if type(count) is not int or count < 0:
        raise RemoteProtocolError("a count of what was read is a number")
    return count
