"""What is to run in the process of a participant."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

from ..channel import qualify
from .options import check_args, check_factory


@dataclasses.dataclass(frozen=True)
class Participant:
    """An algorithm that is made in a process of its own, by ``factory(*args, **kwargs)``.

    *factory* is a function or class at the top of a module, or its name ``"module:name"``; the
    process imports that module. The arguments travel: they are plain values or registered types.
    The factory is called in the thread of the asyncio loop.
    """

    factory: Any
    args: Iterable[Any] = ()
    kwargs: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        check_factory(self.factory)
        check_args(self.args, self.kwargs)

    @property
    def module(self) -> str:
        """The module that the factory is in."""
        return qualify(self.factory)[0]

    @property
    def label(self) -> str:
        """The factory as ``"module:name"``."""
        return ":".join(qualify(self.factory))
