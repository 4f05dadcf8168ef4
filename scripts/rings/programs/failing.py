"""A module that ends the process which imports it, in the way the environment names."""

from __future__ import annotations

import os
import signal

WAY = os.environ["ACTORSYS_RING_FAILURE"]

if WAY == "raise":
    raise RuntimeError("this module does not import")
if WAY == "exit":
    os._exit(7)
os.kill(os.getpid(), signal.SIGKILL)
