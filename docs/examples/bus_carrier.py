"""A carrier of one's own in one asyncio loop: a shared bus, replies by id, and a done event."""

import asyncio
import uuid

from actorsys.carriers import Carrier


class Bus:
    def __init__(self):
        self.carriers = {}  # by address
        self.requests = {}  # futures by the id of their request, until it is answered or given up
        self.tasks = set()  # asyncio itself does not keep them
        self.error = None  # the first one that is not of a request
        self.done = asyncio.Event()  # nothing is under way, or there is an error
        self.done.set()

    def dispatch(self, receiver, content, meta):
        carrier = self.carriers[receiver]
        task = asyncio.create_task(carrier.algorithm.on_exchange_message(carrier, content, meta))
        self.tasks.add(task)
        self.done.clear()
        task.add_done_callback(lambda task: self.on_handled(task, meta["message_id"]))
        return task

    def on_handled(self, task, request):
        self.tasks.discard(task)
        error = RuntimeError("a handler was cancelled") if task.cancelled() else task.exception()
        if error and not self.settle(request, asyncio.Future.set_exception, error):
            self.error = self.error or error
        if self.error or not self.tasks:
            self.done.set()

    def settle(self, request, how, value):
        future = self.requests.pop(request, None)
        if future is None or future.done():  # answered already, or given up
            return False
        how(future, value)
        return True


class BusCarrier(Carrier):
    def __init__(self, aid, bus, algorithm):
        self.aid, self.bus, self.algorithm = aid, bus, algorithm
        bus.carriers[aid] = self

    def send_to_other(self, content, receiver, meta=None):
        defaults = {"sender": self.aid, "message_id": uuid.uuid4(), "is_request": False}
        return self.bus.dispatch(receiver, content, {**defaults, **(meta or {})})

    def reply_to_other(self, content, meta):
        if not meta["is_request"]:
            return self.send_to_other(content, meta["sender"])
        self.bus.settle(meta["message_id"], asyncio.Future.set_result, content)
        return asyncio.ensure_future(asyncio.sleep(0))

    def send_awaitable(self, content, receiver, meta=None):
        future, key = asyncio.get_running_loop().create_future(), uuid.uuid4()
        self.send_to_other(
            content, receiver, {**(meta or {}), "message_id": key, "is_request": True}
        )
        self.bus.requests[key] = future
        future.add_done_callback(lambda _: self.bus.requests.pop(key, None))
        return future

    def others(self, participant_id):
        return [aid for aid in self.bus.carriers if aid != self.aid]

    def get_address(self):
        return self.aid
