"""The process: start, watch and stop exactly one.

All edges of the operating system are here: pipes, signals, exit codes. This floor does not decide
who is started or what happens when one ends.
"""

from .importing import find_class, offered_modules, refuse_in_an_actor
from .local_host import LocalHost
from .process import Process
from .spec import ActorSpec, module_names, script_of_this_process, type_names

__all__ = [
    "ActorSpec",
    "LocalHost",
    "Process",
    "find_class",
    "module_names",
    "offered_modules",
    "refuse_in_an_actor",
    "script_of_this_process",
    "type_names",
]
