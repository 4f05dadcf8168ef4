"""The first and the last thing that a child process runs."""

from __future__ import annotations

import faulthandler
import functools
import gc
import os
import signal
import sys
import traceback
import types
from collections.abc import Callable

from . import lifeline
from .importing import import_offer
from .spec import ActorSpec, read_spec

_BOOT_FAILED = 1


def main(fd: int, parent_pid: int) -> None:
    """Become the actor whose spec comes through the pipe *fd*; return when it has ended.

    The garbage collector is off when this is called, and on when the actor runs.
    """
    _ignore_interrupts()
    lifeline_spec = read_spec(fd)
    if lifeline_spec is None:
        sys.exit(_BOOT_FAILED)
    lifeline.arm(fd, parent_pid)
    os.register_at_fork(after_in_child=lifeline.tie_to_parent)
    faulthandler.enable()
    modules = _prepare(lifeline_spec)
    gc.freeze()
    gc.enable()
    _serve(lifeline_spec, modules)


_early_terminations: list[int] = []
"""SIGTERMs that came before the actor was there to end in good order."""


def _ignore_interrupts() -> None:
    """Leave Ctrl-C to the root.

    A handler that does nothing, unlike SIG_IGN, is not inherited by what the actor executes.
    """
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGINT])
    signal.signal(signal.SIGTERM, lambda number, _: _early_terminations.append(number))


def _prepare(spec: ActorSpec) -> list[types.ModuleType]:
    sys.path[:] = spec.sys_path
    sys.argv[:] = spec.argv
    try:
        return import_offer(spec)
    except BaseException as error:
        traceback.print_exception(_without_own_frames(error))
        sys.stderr.flush()
        sys.exit(_BOOT_FAILED)


def _without_own_frames(error: BaseException) -> BaseException:
    """Drop the frames of this package and of importlib from the top of the traceback."""
    tb = error.__traceback__
    while tb is not None and _is_own(tb.tb_frame.f_code.co_filename):
        tb = tb.tb_next
    if tb is None and not isinstance(error, ImportError):
        return error
    return error.with_traceback(tb)


def _is_own(filename: str) -> bool:
    return filename.startswith("<frozen importlib") or filename.endswith(
        ("actorsys/spawn/boot.py", "actorsys/spawn/importing.py", "importlib/__init__.py")
    )


def _serve(spec: ActorSpec, modules: list[types.ModuleType]) -> None:
    from ..actor.logs import naming_records, show_actor_of_records
    from .forks import end_returning_copies
    from .local_host import LocalHost
    from .main_task import serve

    run: Callable[..., int]
    if spec.bridge.kind == "guest":
        from ..bridges.guest import run_as_guest

        run = functools.partial(run_as_guest, uvloop=spec.bridge.uvloop)
    else:
        from trio import run
    end_returning_copies()
    show_actor_of_records()
    with naming_records(spec.uid[0]):
        sys.exit(run(serve, spec, modules, LocalHost(_early_terminations)))
