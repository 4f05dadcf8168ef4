"""The program that does one share of a ring, in a process of its own.

Its arguments are the function, as ``module:name``, its seed and count, and two files: for notes
and for the result.
"""

from __future__ import annotations

import faulthandler
import importlib
import sys
from pathlib import Path

from actorsys.limits import MIB

from .fuzz_memory import limit_address_space
from .fuzz_note import FileNote

_SPARE_ADDRESS_BYTES = 1024 * MIB
"""What asks for more gets a MemoryError, and this machine keeps its memory."""


def main() -> None:
    """Do the share and write down what came of it."""
    function, seed, count, note, result = sys.argv[1:]
    faulthandler.enable()
    module, _, name = function.partition(":")
    share = getattr(importlib.import_module(module), name)
    limit_address_space(_SPARE_ADDRESS_BYTES)
    tally = share(int(seed), int(count), FileNote(Path(note)))
    Path(result).write_text(tally.to_json())


if __name__ == "__main__":
    main()
