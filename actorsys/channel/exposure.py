"""What a peer may call: the public functions defined in the modules that were exposed.

A name from the wire is looked up in one module's own dictionary and nowhere else: no dots are
followed, nothing is imported.
"""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from ..errors import LocalProtocolError, NotExposed
from ..wire import Kind, canonical_module

F = TypeVar("F", bound=Callable[..., Any])

RUNTIME_NS = "self"
"""The namespace of the runtime's own functions, a fixed table."""

_CONTEXT_MARK = "__actorsys_context__"


def context(fn: F) -> F:
    """Mark an async function as a context: a task linked to its caller, with a stream.

    Its first argument is a `Context`.
    """
    if not inspect.iscoroutinefunction(fn):
        raise TypeError(f"@context is for async functions, not {fn!r}")
    setattr(fn, _CONTEXT_MARK, True)
    return fn


class Target(NamedTuple):
    """A function that may be called, and how."""

    fn: Callable[..., Any]
    kind: Kind
    is_async: bool


class Exposure:
    """The functions that a peer may call."""

    def __init__(self, modules: Iterable[types.ModuleType] = ()) -> None:
        self._modules = {canonical_module(module.__name__): module for module in modules}
        self._targets: dict[tuple[str, str], Target] = {}

    def __repr__(self) -> str:
        return f"<Exposure of {', '.join(self._modules) or 'nothing'}>"

    @property
    def modules(self) -> tuple[str, ...]:
        """Names of the exposed modules."""
        return tuple(self._modules)

    def resolve(self, ns: str, func: str) -> Target:
        """Return the function *func* of module *ns*.

        Raises:
          NotExposed: there is none that a peer may call; says why and what to do.
        """
        target = self._targets.get((ns, func))
        if target is None:
            target = self._find(ns, func)
            self._targets[ns, func] = target
        return target

    def _find(self, ns: str, func: str) -> Target:
        module = self._modules.get(ns)
        if module is None:
            raise NotExposed(
                f"module {ns!r} is not exposed here; exposed: {', '.join(self._modules) or 'none'}"
                f" (pass modules=[{ns!r}] to start_actor)"
            )
        if not func.isidentifier():
            raise NotExposed(f"{func!r} is not the name of a function; methods cannot be called")
        if func.startswith("_"):
            raise NotExposed(f"{ns}:{func} is private")
        fn = vars(module).get(func)
        if fn is None:
            raise NotExposed(f"module {ns!r} has no function {func!r}")
        if not isinstance(_unwrapped(fn), types.FunctionType):
            raise NotExposed(f"{ns}:{func} is not a function")
        if canonical_module(getattr(fn, "__module__", "")) != ns:
            raise NotExposed(f"{ns}:{func} is imported there; expose the module that defines it")
        return Target(fn, *_kind_of(fn))


def _unwrapped(value: object) -> object:
    """Return the function inside decorators, or *value* itself."""
    try:
        return inspect.unwrap(value) if callable(value) else value
    except ValueError:  # a circle of wrappers
        return value


def _kind_of(fn: Callable[..., Any]) -> tuple[Kind, bool]:
    """Return the kind of *fn* and whether it runs in trio's own thread."""
    if getattr(fn, _CONTEXT_MARK, False):
        return "context", True
    if inspect.isasyncgenfunction(fn):
        return "asyncgen", True
    return "asyncfunc", inspect.iscoroutinefunction(fn)


@functools.lru_cache(maxsize=1024)
def qualify(fn: Callable[..., Any] | str) -> tuple[str, str]:
    """Return the module and name under which *fn*, or ``"module:name"``, is called.

    Raises:
      LocalProtocolError: it has no such name: a method, a local function, a lambda.
    """
    if isinstance(fn, str):
        ns, colon, func = fn.rpartition(":")
        if not colon:
            raise LocalProtocolError(f"name a function as 'module:name', not {fn!r}")
        if ns == RUNTIME_NS:
            raise NotExposed(f"{ns!r} is the runtime's own; no module of that name can be called")
        return ns, func
    module, name = getattr(fn, "__module__", None), getattr(fn, "__qualname__", None)
    if not (callable(fn) and isinstance(module, str) and isinstance(name, str)):
        raise LocalProtocolError(f"{fn!r} is not a function")
    if not name.isidentifier():
        raise NotExposed(
            f"{name!r} is not defined at the top of a module; only such functions can be called"
        )
    return canonical_module(module), name
