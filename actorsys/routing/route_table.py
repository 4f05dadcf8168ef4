"""Which actor goes over which route."""

from __future__ import annotations

from ..errors import NotRouted
from .actor_queue import ActorQueue
from .protocol import ActorId, checked_actor_id, checked_route_name
from .route import Route


class RouteTable:
    """The queues of the actors, the routes by name, and who is assigned to which.

    An actor may be assigned to a route that is missing or closed: its messages wait until there is
    one. A queue is in the ring of a route exactly while its first message may be sent over it.
    """

    def __init__(self) -> None:
        self.queues: dict[ActorId, ActorQueue] = {}
        self.routes: dict[str, Route] = {}

    def __repr__(self) -> str:
        closed = ", ".join(map(repr, self.failures))
        state = f", closed: {closed}" if closed else ""
        return f"<RouteTable: {len(self.queues)} actors, {len(self.routes)} routes{state}>"

    @property
    def failures(self) -> dict[str, Exception]:
        """The errors that have closed routes, of those that are still closed."""
        return {n: route.failure for n, route in self.routes.items() if route.failure is not None}

    def find(self, actor_id: ActorId) -> ActorQueue | None:
        """Return the queue of an actor, if there is one.

        Raises:
          TypeError: there cannot be one: the id is not hashable.
        """
        try:
            return self.queues.get(actor_id)
        except TypeError:
            checked_actor_id(actor_id)
            raise

    def queue_of(self, actor_id: ActorId) -> ActorQueue:
        """Return the queue of an actor; there is one from now on."""
        queue = self.find(actor_id)
        if queue is None:
            queue = self.queues[actor_id] = ActorQueue(actor_id)
        return queue

    def forget_if_idle(self, queue: ActorQueue) -> None:
        """Keep nothing about an actor that is not assigned and has no messages."""
        if queue.is_idle and self.queues.get(queue.actor_id) is queue:
            del self.queues[queue.actor_id]

    def open_route(self, name: str | None) -> Route | None:
        """Return the route *name*, if it is there and open."""
        route = self.routes.get(name) if name is not None else None
        return route if route is not None and route.is_open else None

    def need_route(self, name: str) -> Route:
        """Return the open route *name*.

        Raises:
          NotRouted: it is missing or closed.
          TypeError: this is no name.
        """
        checked_route_name(name)
        route = self.open_route(name)
        if route is None:
            state = "closed" if name in self.routes else "missing"
            raise NotRouted(f"route {name!r} is {state}; add it with add_route first")
        return route

    def ready(self, queue: ActorQueue) -> None:
        """Give *queue* a turn on its route, if there is one and something to send."""
        if queue.can_leave:
            route = self.open_route(queue.route_name)
            if route is not None:
                route.enqueue(queue)

    def unready(self, queue: ActorQueue) -> None:
        """Take its turn back, if it has one."""
        if queue.ring is not None:
            queue.ring.dequeue(queue)

    def assign(self, queue: ActorQueue, name: str | None) -> None:
        """Send what waits in *queue* over the route *name*; over none, for None.

        The next message leaves when the one in flight, on whatever route, is done.
        """
        if queue.route_name != name:
            self.unready(queue)
            queue.route_name = name
            self.resume(queue)

    def resume(self, queue: ActorQueue) -> None:
        """Forget the failures of *queue*, and try it again at once."""
        queue.resume_at = None
        queue.failures = 0
        self.ready(queue)

    def add(self, route: Route) -> None:
        """Put a route in, in place of a closed one of its name; wake its actors.

        Raises:
          ValueError: there is an open one.
        """
        if self.open_route(route.name) is not None:
            raise ValueError(f"there is a route {route.name!r} already; remove it first")
        self.routes[route.name] = route
        for queue in self.queues.values():
            if queue.route_name == route.name:
                self.resume(queue)

    def remove(self, name: str) -> Route:
        """Take a route out, and close it.

        Raises:
          NotRouted: there is none of this name.
          TypeError: this is no name.
        """
        checked_route_name(name)
        route = self.routes.pop(name, None)
        if route is None:
            raise NotRouted(f"there is no route {name!r}; there are {sorted(self.routes)}")
        route.close()
        return route

    def rename(self, old: ActorId, new: ActorId) -> ActorQueue | None:
        """Let an actor have another id, with its queue and its route.

        Return what had come for *new* before, which is nobody's now.

        Raises:
          NotRouted: there is no actor *old*.
          ValueError: *new* is another actor, which is assigned or has a message in flight.
        """
        queue, early = self.find(old), self.find(new)
        if queue is None:
            raise NotRouted(f"there is no actor {old!r}: it is not assigned, and nothing waits")
        if early is queue:
            return None
        if early is not None and not early.is_unclaimed:
            raise ValueError(f"there is an actor {new!r} already; remove it first")
        del self.queues[old]
        queue.rename(new)
        self.queues[new] = queue
        return early
