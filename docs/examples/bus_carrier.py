"""A carrier of one's own in one asyncio loop: a shared bus, replies by id, and a done event."""

import asyncio
import uuid
from typing import Any

from actorsys.carriers import Carrier


class Bus:
    def __init__(self) -> None:
        self.algorithms: dict[int, tuple[Carrier, Any]] = {}  # by address
        self.log: dict[int, list[Any]] = {}
        self.requests: dict[uuid.UUID, asyncio.Future[Any]] = {}
        self.tasks: set[asyncio.Task[None]] = set()  # asyncio itself does not keep them
        self.done = asyncio.Event()

    def dispatch(self, receiver: int, content: Any, meta: dict[str, Any]) -> asyncio.Task[None]:
        carrier, algorithm = self.algorithms[receiver]
        self.log[receiver].append(content)
        task = asyncio.create_task(algorithm.on_exchange_message(carrier, content, meta))
        task.add_done_callback(self._on_handled)
        self.tasks.add(task)
        self.done.clear()
        return task

    def _on_handled(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not self.tasks:
            self.done.set()


class BusCarrier(Carrier):
    def __init__(self, aid: int, bus: Bus, algorithm: Any) -> None:
        self.aid, self.bus = aid, bus
        bus.algorithms[aid], bus.log[aid] = (self, algorithm), []

    def send_to_other(self, content, receiver, meta=None):
        meta = {"sender": self.aid, "message_id": uuid.uuid4(), **(meta or {})}
        return self.bus.dispatch(receiver, content, meta)

    def reply_to_other(self, content, meta):
        future = self.bus.requests.pop(meta["message_id"], None)
        if future is None:  # to a one-way message
            return self.send_to_other(content, meta["sender"])
        future.set_result(content)
        return future

    def send_awaitable(self, content, receiver, meta=None):
        future, key = asyncio.get_running_loop().create_future(), uuid.uuid4()
        self.bus.requests[key] = future
        self.send_to_other(content, receiver, {**(meta or {}), "message_id": key})
        return future

    def others(self, participant_id):
        return [aid for aid in self.bus.algorithms if aid != self.aid]

    def get_address(self):
        return self.aid
