"""What the root does for those who publish and listen in other actors. They call it by link."""

from __future__ import annotations

from typing import Any

import trio

from ..actor import Context, MsgStream, current_actor
from ..actor.parcels import Parcel, is_parcel
from ..channel import context
from ..errors import ChannelBroken, RemoteProtocolError, SubscriberTooSlow
from .broker import Broker
from .subscriber import Delivery, Subscriber, WhenFull


async def publish(topic: str, parcel: Parcel) -> int:
    """Give an item to all who listen to *topic*; return how many there were."""
    broker = Broker.of(current_actor())
    return await broker.publish(broker.check_topic(topic), _checked(parcel))


async def count_subscribers(topic: str) -> int:
    """Return how many listen to *topic*."""
    broker = Broker.of(current_actor())
    return broker.count(broker.check_topic(topic))


@context
async def publish_all(ctx: Context, topic: str) -> int:
    """Publish what comes by the stream, and tell how many listen whenever that changes.

    Returns how many items there were.
    """
    broker = Broker.of(current_actor())
    count = broker.count(broker.check_topic(topic))
    await ctx.started(count)
    published = 0
    async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
        tasks.start_soon(_tell_counts, broker, topic, count, stream)
        async for parcel in stream:
            await broker.publish(topic, _checked(parcel))
            published += 1
        tasks.cancel_scope.cancel()
    return published


async def _tell_counts(broker: Broker, topic: str, count: int, stream: MsgStream) -> None:
    while True:
        while broker.count(topic) == count:
            await broker.changed.park()
        count = broker.count(topic)
        await stream.send(count)


@context
async def subscribe(ctx: Context, pattern: str, capacity: int, when_full: WhenFull) -> None:
    """Send what is published to *pattern* by the stream; by it come counts of what was read."""
    broker = Broker.of(current_actor())
    with broker.subscribing(pattern, capacity, when_full) as subscriber:
        await ctx.started()
        async with ctx.open_stream() as stream, trio.open_nursery() as tasks:
            subscriber.send_with(lambda delivery: _send_at_once(stream, delivery))
            tasks.start_soon(_send_all, subscriber, stream, tasks.cancel_scope)
            async for count in stream:
                subscriber.credit(_checked_count(count))
            tasks.cancel_scope.cancel()
    if subscriber.is_overrun:
        await subscriber.take()


def _send_at_once(stream: MsgStream, delivery: Delivery) -> bool:
    return stream.flow.send_frame_nowait(stream.flow.encode(list(delivery)))


async def _send_all(subscriber: Subscriber, stream: MsgStream, scope: trio.CancelScope) -> None:
    """Send what could not be sent in the publisher's task."""
    try:
        while True:
            await stream.send(list(await subscriber.take()))
    except (SubscriberTooSlow, ChannelBroken):  # it is to leave, or has left
        scope.cancel()


def _checked(parcel: Any) -> Parcel:
    if not is_parcel(parcel):
        raise RemoteProtocolError("what is published is a parcel")
    return parcel  # type: ignore[no-any-return]


def _checked_count(count: Any) -> int:
    if type(count) is not int or count < 0:
        raise RemoteProtocolError("a count of what was read is a number")
    return count
