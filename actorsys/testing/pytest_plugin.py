"""Fixtures for pytest, which finds them by itself where actorsys is installed.

Each is there for the tests that ask for it, and costs the others nothing.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from ..kernels import RingKernelRuntime
    from .killer import Killer
    from .simulation import Simulation

pytest.register_assert_rewrite("actorsys.testing.conformance")

OpenKernels = Callable[..., "AbstractAsyncContextManager[RingKernelRuntime]"]

_SEED_BITS = 32
_seed = pytest.StashKey[int]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add --actorsys-seed."""
    parser.getgroup("actorsys").addoption(
        "--actorsys-seed",
        type=int,
        metavar="SEED",
        help="the seed of the fixtures chance, killer and simulation; a new one for each run "
        "unless given, and printed with each test that fails",
    )


def pytest_configure(config: pytest.Config) -> None:
    """Choose the seed of this run."""
    given: int | None = config.getoption("--actorsys-seed")
    config.stash[_seed] = random.getrandbits(_SEED_BITS) if given is None else given


@pytest.fixture
def leak_check() -> Iterator[None]:
    """Fail a test that leaves processes, descriptors, threads or shared memory behind."""
    from .leaks import LeakCheck

    with LeakCheck():
        yield


@pytest.fixture
def chance(request: pytest.FixtureRequest) -> random.Random:
    """A source of random numbers; a failing test prints how to have the same ones again.

    Each test has its own, so what it draws does not depend on which other tests run.
    """
    return random.Random(_tell_seed(request))


@pytest.fixture
def killer(chance: random.Random) -> Iterator[Killer]:
    """A `Killer` with the seed of `chance`; what it has frozen runs on when the test has ended."""
    from .killer import Killer

    killer = Killer(chance)
    yield killer
    killer.resume_all()


@pytest.fixture
def simulation(request: pytest.FixtureRequest) -> Simulation:
    """A `Simulation` with the seed of this test."""
    from .simulation import Simulation

    return Simulation(random.Random(_tell_seed(request)).getrandbits(_SEED_BITS))


@pytest.fixture
def open_kernels(leak_check: None) -> OpenKernels:
    """Open a `RingKernelRuntime`, with the options it takes, whose kernels are processes.

    ``async with open_kernels() as runtime:`` in a test of pytest-trio; nothing of it may be left.
    """
    from ..kernels import RingKernelRuntime

    return RingKernelRuntime


@pytest.fixture
def open_inline_kernels(simulation: Simulation) -> OpenKernels:
    """Open a `RingKernelRuntime` whose kernels are tasks of this process, in a simulation.

    Messages are encoded and decoded as if they were processes. With the ``autojump_clock`` of
    pytest-trio no test waits for time to pass.
    """
    from ..kernels import RingKernelRuntime

    @asynccontextmanager
    async def open_inline(**options: Any) -> AsyncIterator[RingKernelRuntime]:
        async with simulation.open(), RingKernelRuntime(**options) as runtime:
            yield runtime

    return open_inline


def _tell_seed(request: pytest.FixtureRequest) -> str:
    """Return the seed of a test, and have its report say it if the test fails."""
    seed = request.config.stash[_seed]
    request.node.add_report_section("setup", "seed", f"--actorsys-seed={seed} repeats this test\n")
    return f"{seed} {request.node.nodeid}"
