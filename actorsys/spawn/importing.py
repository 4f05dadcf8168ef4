"""Import what a child offers, and refuse to start actors meanwhile.

A child runs the script of its root once more, under another name, to get at its functions. A
script without a main guard would start its actors again there, and these would again.
"""

from __future__ import annotations

import importlib
import io
import sys
import types
from collections.abc import Iterable

from ..errors import SpawnError
from ..wire import register
from ..wire.typetable import CHILD_MAIN_MODULE
from .spec import MAIN, ActorSpec

_is_actor = False
"""Whether this process is an actor, from before its imports on. Threads that the modules start
see it as well; only `import_offer` sets it."""


def refuse_in_an_actor() -> None:
    """Refuse to open the runtime of a root in a process that is an actor.

    Code that an actor runs is inside its runtime; what is outside has been started by an import.

    Raises:
      SpawnError: it is one.
    """
    if _is_actor:
        raise SpawnError(
            "this module starts actors while it is imported, and every child imports it again; "
            "put the code that starts them under `if __name__ == '__main__':`"
        )


def import_offer(spec: ActorSpec) -> list[types.ModuleType]:
    """Import the modules that *spec* exposes, register its types, and return the modules.

    Whatever the modules raise is raised.
    """
    global _is_actor
    _is_actor = True
    if spec.script is not None:
        _import_script(*spec.script)
    modules = offered_modules(spec)
    _register(spec.types)
    return modules


def offered_modules(spec: ActorSpec) -> list[types.ModuleType]:
    """Return the modules that *spec* exposes, in a process that has the script already."""
    return [_module(name) for name in spec.modules]


def _import_script(path: str, package: str) -> None:
    """Run the root's script under another name, so that its main guard stays shut."""
    module = types.ModuleType(CHILD_MAIN_MODULE)
    module.__file__ = path
    module.__package__ = package
    sys.modules[CHILD_MAIN_MODULE] = sys.modules[MAIN] = module
    with io.open_code(path) as file:
        code = compile(file.read(), path, "exec")
    exec(code, vars(module))


def _module(name: str) -> types.ModuleType:
    return sys.modules[MAIN] if name == MAIN else importlib.import_module(name)


def _register(tags: Iterable[str]) -> None:
    for tag in tags:
        register(find_class(tag))


def find_class(tag: str) -> type:
    """Return the class that the user of this process has named ``"module:Class"``.

    Whatever its module raises is raised.

    Raises:
      TypeError: it is no class.
    """
    module_name, _, qualname = tag.partition(":")
    found: object = _module(module_name)
    for part in qualname.split("."):
        found = getattr(found, part)
    if not isinstance(found, type):
        raise TypeError(f"{tag!r} does not name a class")
    return found
