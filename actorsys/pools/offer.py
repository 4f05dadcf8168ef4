"""Which functions a pool can be asked to run, as far as this process knows."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any, Union

from ..channel import Exposure, qualify
from ..errors import LocalProtocolError, NotExposed

Callee = Union[Callable[..., Any], str]

_HOW_TO_CALL = {"asyncgen": "portal.open_stream_from", "context": "portal.open_context"}


class Offer:
    """The modules that the workers of a pool offer."""

    def __init__(self, modules: Sequence[str]) -> None:
        self._modules = modules
        self._names: dict[Callee, str] = {}

    def __repr__(self) -> str:
        return f"<Offer of {', '.join(self._modules) or 'nothing'}>"

    def name_of(self, fn: Callee) -> str:
        """Return the name under which *fn* is called, at once and not only in the worker.

        Raises:
          NotExposed: it cannot be called; says why and what to do.
          LocalProtocolError: it is no function, or has no single result.
        """
        name = self._names.get(fn)
        if name is None:
            name = self._names[fn] = self._checked(*qualify(fn))
        return name

    def _checked(self, ns: str, func: str) -> str:
        if ns not in self._modules:
            raise NotExposed(
                f"module {ns!r} is not offered by this pool; offered: "
                f"{', '.join(self._modules) or 'none'} (pass modules=[{ns!r}] to open_pool)"
            )
        module = sys.modules.get(ns)
        if module is not None:  # else only the worker can tell
            kind = Exposure([module]).resolve(ns, func).kind
            if kind != "asyncfunc":
                raise LocalProtocolError(
                    f"{ns}:{func} has no single result, so a pool cannot run it; start an actor "
                    f"and use {_HOW_TO_CALL[kind]}"
                )
        return f"{ns}:{func}"
