"""What tests of programs that use actorsys may need.

  Simulation              a whole tree in one process, from one seed
  FaultyTransport         connections that are cut, slow, in pieces, stuck or silent
  Killer                  processes that die, freeze or hang, and a record of it
  LeakCheck, Resources    what is left behind
  CancelAtStep            cancellations at every step
  check_transport         what a transport, or a listener, must do
  hostile                 bytes that no honest peer sends
  fake_cuda               a GPU in main memory that has everybody keep to the rules of CUDA
  pytest_plugin           fixtures: leak_check, chance, killer, simulation

This package knows all the others, and none of them knows it. Importing it takes neither pytest nor
psutil; `Simulation` and the checks are loaded when they are first used, because `trio.testing`,
which they need, takes pytest where it is installed.
"""

from typing import TYPE_CHECKING, Any

from .faults import Direction, Faults
from .faulty_transport import FaultyTransport
from .killer import Killer, Strike, Way
from .leaks import LeakCheck, Resources, leaked
from .steps import CancelAtStep, cancel_at_every_step

if TYPE_CHECKING:
    from .conformance import Place, Subject, check_listener, check_transport
    from .simulation import Simulation

__all__ = [
    "CancelAtStep",
    "Direction",
    "Faults",
    "FaultyTransport",
    "Killer",
    "LeakCheck",
    "Place",
    "Resources",
    "Simulation",
    "Strike",
    "Subject",
    "Way",
    "cancel_at_every_step",
    "check_listener",
    "check_transport",
    "leaked",
]


def __getattr__(name: str) -> Any:
    if name == "Simulation":
        from .simulation import Simulation

        return Simulation
    if name in ("Place", "Subject", "check_listener", "check_transport"):
        from . import conformance

        return getattr(conformance, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
