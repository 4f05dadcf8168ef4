"""A module whose import opens the journal and never ends."""

import os
import time

import journal

journal.hold(os.environ["ACTORSYS_TEST_JOURNAL"], f"importing {os.getpid()}")
while True:
    time.sleep(1)
