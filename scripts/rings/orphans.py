"""Promise 1: when an actor is killed, at whatever moment, nobody below it survives.

The tree is binary and four levels deep below its root: 1 + 2 + 4 + 8 + 16 = 31 actors. In each
trial some members are frozen, some sit in C with the interpreter lock, some ignore SIGTERM; then
the root, or a member with children, is killed.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import AbstractContextManager
from typing import NamedTuple

from . import processes
from .figure import Figure
from .programs.members import WAY_VARIABLE, make_plan, paths_of
from .trees import Tree, open_tree

DEPTH = 4
FANOUT = 2
GONE_WITHIN_SECONDS = 1.0
WATCHED_SECONDS = 5.0
ATTEMPTS = 5
FROZEN_MEMBERS = 2
UNRULY_MEMBERS = ["hold_the_gil", "hold_the_gil", "ignore_sigterm", "ignore_sigterm"]

MOMENTS = ["starting", "importing", "handshake", "idle", "call", "stream", "shutdown"]
"""What the tree is doing when the signal comes. While it is starting, each member is somewhere
between its fork and its first call; the two after that hold one child at that very point."""

_LATE = ("importing", "handshake")
_TRAFFIC = {"call": "calls", "stream": "stream"}
_PAUSE_SECONDS = {"starting": 0.05, "handshake": 1.0, "shutdown": 0.3}
_OTHER_PAUSE_SECONDS = 0.1


class Outcome(NamedTuple):
    """What one killing has led to."""

    seconds: float
    survivors: int
    moment: str


def kill_parents(trials: int, seed: int, depth: int = DEPTH) -> Iterator[Figure]:
    """Kill one actor in each of *trials* trees; the worst case is who survived, or went last."""
    chance = random.Random(seed)
    moments = [MOMENTS[trial % len(MOMENTS)] for trial in range(trials)]
    chance.shuffle(moments)
    outcomes = [found for moment in moments if (found := _kill_one(chance, moment, depth))]
    survivors = sum(outcome.survivors for outcome in outcomes)
    slowest = max(outcomes, default=Outcome(0.0, 0, "none was killed"))
    counts = ", ".join(f"{n} {moment}" for moment, n in Counter(moments).items())
    yield Figure(
        promise=1,
        what=f"trees of {len(paths_of(depth, FANOUT))} actors of which one is killed ({counts})",
        n=len(outcomes),
        seed=seed,
        worst=f"{survivors} survivors, the last one gone after {slowest.seconds * 1000:.0f} ms "
        f"({slowest.moment})",
        target="0 survivors, 1 s",
        is_met=len(outcomes) == trials and not survivors,
    )


def _kill_one(chance: random.Random, moment: str, depth: int) -> Outcome | None:
    """Kill an actor of a new tree at *moment*; return None if that was missed each time."""
    for _ in range(ATTEMPTS):
        killing = _Killing(chance, moment, depth)
        with killing.open_tree() as tree:
            killing.bring_about(tree)
            time.sleep(chance.random() * _PAUSE_SECONDS.get(moment, _OTHER_PAUSE_SECONDS))
            if killing.is_still_possible(tree):
                return killing.kill(tree)
    return None


class _Killing:
    """Who is killed in one tree, who else is unruly there, and how the moment is brought about."""

    def __init__(self, chance: random.Random, moment: str, depth: int) -> None:
        parents = paths_of(depth - 1, FANOUT)
        below = parents[1:] or parents
        self.moment = moment
        self.victim = chance.choice(["r", chance.choice(below)])
        self._chance = chance
        self._depth = depth
        self._late = self._choose_late(parents)
        members = sorted(set(paths_of(depth, FANOUT)) - {"r", self._late})
        chance.shuffle(members)
        self._unruly = dict(zip(members, UNRULY_MEMBERS, strict=False))
        self._frozen = members[-FROZEN_MEMBERS:]

    def _choose_late(self, parents: list[str]) -> str | None:
        """Return who gets one more child, at or below the victim, if the moment needs that."""
        if self.moment not in _LATE:
            return None
        return self._chance.choice([path for path in parents if path.startswith(self.victim)])

    def open_tree(self) -> AbstractContextManager[Tree]:
        """Start the tree."""
        plan = make_plan(
            self._depth,
            FANOUT,
            traffic=_TRAFFIC.get(self.moment, "none"),
            unruly=self._unruly,
            late=self._late,
            is_loud=self.moment == "starting",
        )
        ways = ["sleep", "hold the lock"] if self.moment == "importing" else ["go on"]
        return open_tree(plan, **{WAY_VARIABLE: self._chance.choice(ways)})

    def bring_about(self, tree: Tree) -> None:
        """Return when the moment has come, or begins."""
        if self.moment == "starting":
            size = len(paths_of(self._depth + 1 - len(self.victim), FANOUT))
            wanted = self._chance.randrange(1, size)
            tree.wait_until(lambda: tree.count_up(self.victim) >= wanted)
            return
        tree.wait_ready()
        for path in self._frozen:
            processes.freeze(tree.pids[path])
        if self._late is not None:
            self._let_late_child_start(tree, tree.pids[self._late])
        elif self.moment == "shutdown":
            self._begin_shutdown(tree)

    def _let_late_child_start(self, tree: Tree, parent: int) -> None:
        os.kill(parent, signal.SIGUSR1)
        tree.wait_until(lambda: "importing" in tree.said)
        if self.moment == "handshake":
            processes.freeze(parent)  # so its child waits for an answer

    def _begin_shutdown(self, tree: Tree) -> None:
        if self._chance.random() < 0.5:
            os.kill(tree.root.pid, signal.SIGINT)
        else:
            tree.close_stdin()

    def is_still_possible(self, tree: Tree) -> bool:
        """Tell whether the moment has not passed."""
        if self._late is not None and not tree.living(f"{self._late}x"):
            return False
        return processes.is_living(tree.pids[self.victim])

    def kill(self, tree: Tree) -> Outcome:
        """Kill the victim and watch what becomes of those below it."""
        began = time.monotonic()
        os.kill(tree.pids[self.victim], signal.SIGKILL)
        tree.wait_gone(self.victim, GONE_WITHIN_SECONDS)
        survivors = len(tree.living(self.victim))
        tree.wait_gone(self.victim, WATCHED_SECONDS)
        return Outcome(time.monotonic() - began, survivors, self.moment)
