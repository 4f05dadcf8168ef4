"""What a dispatcher is opened with."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from ..limits import DEFAULT_ROUTING_LIMITS, RoutingLimits
from .failures import IsTransient, is_transient
from .overflow import Overflow, checked_overflow
from .protocol import Protocol, checked_deadlines
from .retry_delay import DEFAULT_RETRY_DELAY


@dataclass(frozen=True)
class DispatcherOptions:
    """The options of `open_dispatcher`, as they were given; an error says which makes no sense."""

    deadlines: Mapping[Protocol, float] = field(default_factory=dict)
    overflow: Overflow | Mapping[Protocol, Overflow] = Overflow.BLOCK
    control: Collection[Protocol] = ()
    retry_delay: Callable[[int], float] = DEFAULT_RETRY_DELAY
    is_transient: IsTransient = is_transient
    limits: RoutingLimits = DEFAULT_ROUTING_LIMITS

    def __post_init__(self) -> None:
        if not isinstance(self.limits, RoutingLimits):
            raise TypeError(f"limits is a RoutingLimits, not {self.limits!r}")
        if not isinstance(self.control, Collection) or isinstance(self.control, str):
            raise TypeError(f"control is a collection of Protocol members, not {self.control!r}")
        for kind in self.control:
            if not isinstance(kind, Protocol):
                raise TypeError(f"control holds members of Protocol, not {kind!r}")
        for name in ("retry_delay", "is_transient"):
            if not callable(getattr(self, name)):
                raise TypeError(f"{name} is a function, not {getattr(self, name)!r}")

    def deadline_of_each(self) -> dict[Protocol, float]:
        """Return the deadline in seconds of every kind."""
        return checked_deadlines(self.deadlines)

    def rule_of_each(self) -> dict[Protocol, Overflow]:
        """Return what is done when there is no room, for every kind."""
        return checked_overflow(self.overflow)
