"""A module that says when it is imported, and takes its time as the environment wants it."""

from __future__ import annotations

import os
import time

from .members import STUCK_SECONDS, WAY_VARIABLE, say, sit_in_c

say("importing")
way = os.environ[WAY_VARIABLE]
if way == "sleep":
    time.sleep(STUCK_SECONDS)
elif way == "hold the lock":
    sit_in_c()
