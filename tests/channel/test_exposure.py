"""Exposure: the public functions that an exposed module defines, and nothing else."""

from __future__ import annotations

import functools
import math
import os
import sys
import types
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from unittest import mock

import exposed_elsewhere
import pytest
from exposed_elsewhere import careful, imported, plain

from actorsys.channel import Exposure, context, qualify
from actorsys.errors import LocalProtocolError, NotExposed

HERE = __name__


async def public() -> int:
    return 1


def synchronous() -> int:
    return 1


async def produce() -> AsyncIterator[int]:
    yield 1


@context
async def conversation(ctx: Any) -> None:
    """Stand for any context."""


async def _private() -> None:
    """Stand for any private function."""


@careful
async def decorated() -> int:
    return 1


@careful
@context
async def decorated_context(ctx: Any) -> None:
    """Stand for a context under another decorator."""


@functools.cache
def cached() -> int:
    return 1


@plain
async def hidden() -> None:
    """Stand for a function behind a decorator that does not say what it decorates."""


class Service:
    async def method(self) -> None:
        """Stand for any method."""

    def __call__(self) -> None:
        """Make instances callable."""


@dataclass
class Data:
    x: int = 0


instance = Service()
bound = instance.method
partial = functools.partial(public)
number = 5
nothing = None
alias = imported
builtin = os.getcwd
square_root = math.sqrt
anything = mock.call
imitation = mock.Mock()
anonymous = lambda: None  # noqa: E731


@pytest.fixture
def exposure() -> Exposure:
    return Exposure([sys.modules[__name__]])


@pytest.mark.parametrize(
    ("name", "kind", "is_async"),
    [
        ("public", "asyncfunc", True),
        ("synchronous", "asyncfunc", False),
        ("produce", "asyncgen", True),
        ("conversation", "context", True),
        ("decorated", "asyncfunc", True),
        ("decorated_context", "context", True),
        ("cached", "asyncfunc", False),
    ],
)
def test_a_public_function_is_found_with_its_kind(
    exposure: Exposure, name: str, kind: str, is_async: bool
) -> None:
    target = exposure.resolve(HERE, name)
    assert target.fn is globals()[name]
    assert (target.kind, target.is_async) == (kind, is_async)


@pytest.mark.parametrize(
    "name",
    [
        "_private",
        "__name__",
        "__builtins__",
        "__getattr__",
        "missing",
        "",
        "Service",
        "Data",
        "Service.method",
        "Service.__init__",
        "instance",
        "instance.method",
        "bound",
        "partial",
        "number",
        "nothing",
        "alias",
        "imported",
        "hidden",
        "careful",
        "builtin",
        "square_root",
        "anything",
        "imitation",
        "os",
        "sys.exit",
        "os.system",
        "functools",
        "public ",
        "public\n",
        "public()",
        "<lambda>",
        "pub\u200blic",
        "\x00",
        "x" * 512,
    ],
)
def test_nothing_else_is_found(exposure: Exposure, name: str) -> None:
    with pytest.raises(NotExposed):
        exposure.resolve(HERE, name)


@pytest.mark.parametrize(
    "ns", ["os", "builtins", "exposed_elsewhere", "actorsys", "", HERE + ".x", "test_exposur"]
)
def test_a_module_that_is_not_exposed_is_not_looked_at(exposure: Exposure, ns: str) -> None:
    with pytest.raises(NotExposed, match=r"is not exposed here.*pass modules="):
        exposure.resolve(ns, "public")


def test_nothing_is_imported_because_a_peer_said_so(exposure: Exposure) -> None:
    assert "this" not in sys.modules
    with pytest.raises(NotExposed):
        exposure.resolve("this", "s")
    assert "this" not in sys.modules


def test_a_modules_own_getattr_is_not_asked() -> None:
    module = types.ModuleType("generous")
    module.__dict__["__getattr__"] = lambda name: public
    with pytest.raises(NotExposed):
        Exposure([module]).resolve("generous", "public")


def test_the_reason_says_what_to_do(exposure: Exposure) -> None:
    for name, reason in [
        ("_private", "is private"),
        ("missing", "has no function 'missing'"),
        ("imported", "imported there; expose the module that defines it"),
        ("Service", "is not a function"),
        ("Service.method", "methods cannot be called"),
    ]:
        with pytest.raises(NotExposed, match=reason):
            exposure.resolve(HERE, name)


def test_an_imported_function_is_found_where_it_is_defined() -> None:
    exposure = Exposure([exposed_elsewhere])
    assert exposure.resolve("exposed_elsewhere", "imported").fn is imported


def test_refusals_are_not_remembered(exposure: Exposure) -> None:
    for i in range(100):
        with pytest.raises(NotExposed):
            exposure.resolve(HERE, f"name_{i}")
    assert len(exposure._targets) == 0
    exposure.resolve(HERE, "public")
    assert exposure.resolve(HERE, "public") is exposure.resolve(HERE, "public")


def test_the_script_has_one_name_in_every_process() -> None:
    module = types.ModuleType("__actorsys_main__")
    exec("async def fn(): pass", module.__dict__)
    exposure = Exposure([module])
    assert exposure.modules == ("__main__",)
    assert exposure.resolve("__main__", "fn").fn is module.fn


def test_nothing_is_exposed_by_default() -> None:
    with pytest.raises(NotExposed, match="exposed: none"):
        Exposure().resolve(HERE, "public")
    assert "nothing" in repr(Exposure())


# --- the caller's side -----------------------------------------------------------------------


def test_a_function_is_named_by_its_module_and_name() -> None:
    assert qualify(public) == (HERE, "public")
    assert qualify(decorated) == (HERE, "decorated")
    assert qualify(imported) == ("exposed_elsewhere", "imported")
    assert qualify("pkg.mod:fn") == ("pkg.mod", "fn")


@pytest.mark.parametrize("fn", [anonymous, Service.method, lambda: 1, bound, hidden])
def test_what_has_no_name_of_its_own_cannot_be_called(fn: Any) -> None:
    with pytest.raises((NotExposed, LocalProtocolError), match=r"top of a module|not a function"):
        qualify(fn)


def test_a_local_function_cannot_be_called() -> None:
    async def local() -> None:
        """Stand for any local function."""

    with pytest.raises(NotExposed, match="top of a module"):
        qualify(local)


@pytest.mark.parametrize("fn", [5, None, "no colon", partial, instance])
def test_what_is_no_function_cannot_be_called(fn: Any) -> None:
    with pytest.raises(LocalProtocolError):
        qualify(fn)


@pytest.mark.parametrize("fn", [synchronous, produce, Service, 5])
def test_only_an_async_function_can_be_a_context(fn: Any) -> None:
    with pytest.raises(TypeError, match="is for async functions"):
        context(fn)
