"""What is wrong with a call is said by the call, before anything has happened."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kernel_functions as remote
import pytest
import trio
from kernel_functions import Job, Note
from kernel_helpers import open_kernels, outcome_of, simulated

from actorsys import (
    ActorsysError,
    ActorUnavailable,
    KernelContext,
    KernelState,
    ReceiveTimeout,
    RingKernelRuntime,
    current_actor,
    ring_kernel,
)

STARTS_PROCESSES = True


async def no_kernel(ctx: KernelContext) -> None:
    """Do nothing."""


# --- decorating --------------------------------------------------------------------------------


def test_the_decorator_without_brackets_says_that_it_needs_them() -> None:
    with pytest.raises(TypeError, match="ring_kernel"):
        ring_kernel(no_kernel)  # type: ignore[call-arg]


def test_one_topic_is_not_taken_for_its_letters() -> None:
    with pytest.raises(TypeError, match="topics"):
        ring_kernel(topics="news")(no_kernel)  # type: ignore[arg-type]


def test_a_partial_function_is_no_kernel() -> None:
    with pytest.raises(TypeError, match="kernel"):
        ring_kernel()(functools.partial(no_kernel))


# --- timeouts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("timeout", [-1, -math.inf, math.nan])
@simulated
async def test_a_timeout_of_receive_is_a_number_from_zero(timeout: float) -> None:
    async with open_kernels(remote.silent) as runtime:
        with pytest.raises(ValueError, match="seconds"):
            await runtime.receive("silent", timeout=timeout)


@pytest.mark.parametrize("timeout", [-1, -math.inf])
@simulated
async def test_a_timeout_of_ask_is_a_number_from_zero(timeout: float) -> None:
    async with open_kernels(remote.silent) as runtime:
        with pytest.raises(ValueError, match="seconds"):
            await runtime.ask("silent", Job(), timeout=timeout)
        assert (await runtime.statistics("silent")).received == 0


@simulated
async def test_a_timeout_of_ask_is_a_number() -> None:
    async with open_kernels(remote.silent) as runtime:
        with trio.fail_after(100), pytest.raises(ValueError, match="NaN"):
            await runtime.ask("silent", Job(), timeout=math.nan)


@simulated
async def test_a_timeout_of_no_time_at_all_is_over_at_once() -> None:
    async with open_kernels(remote.silent) as runtime:
        before = trio.current_time()
        for call, arguments in ((runtime.receive, ()), (runtime.ask, (Job(),))):
            with pytest.raises(ReceiveTimeout, match="within 0 s"):
                await call("silent", *arguments, timeout=0)
        assert trio.current_time() == before


@simulated
async def test_a_bad_timeout_does_not_terminate_anything() -> None:
    async with open_kernels(remote.answer) as runtime:
        for timeout in (-1, math.nan):
            with pytest.raises(ValueError, match="seconds"):
                await runtime.terminate("answer", timeout=timeout)
        assert runtime.state("answer") is KernelState.ACTIVE
        assert (await runtime.ask("answer", Job(7), timeout=1)).value == 7


# --- names and states --------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["activate", "deactivate", "reactivate", "terminate", "receive"])
@simulated
async def test_an_unknown_kernel_is_named_beside_those_that_are_known(verb: str) -> None:
    async with open_kernels(remote.answer) as runtime:
        with pytest.raises(ValueError, match=r"no kernel 'nobody'; there are: 'answer'"):
            await getattr(runtime, verb)("nobody")


@pytest.mark.parametrize("name", ["", "x" * 65, "a\nb", 3, None])
@simulated
async def test_what_is_no_name_is_refused(name: Any) -> None:
    async with RingKernelRuntime() as runtime:
        with pytest.raises(ValueError, match="name"):
            await runtime.launch(name, remote.answer)


@simulated
async def test_what_is_no_state_is_not_waited_for() -> None:
    async with open_kernels(remote.answer) as runtime:
        with trio.fail_after(100), pytest.raises((TypeError, ValueError)):
            await runtime.wait_state("answer", "active")  # type: ignore[arg-type]


@simulated
async def test_options_that_are_none_start_nothing() -> None:
    async with RingKernelRuntime() as runtime:
        with pytest.raises(TypeError, match="mailbox"):
            await runtime.launch("answer", remote.answer, mailbox=5)  # type: ignore[arg-type]
        assert not runtime._nursery.children  # type: ignore[union-attr]


@simulated
async def test_one_module_is_not_taken_for_its_letters() -> None:
    async with RingKernelRuntime() as runtime:
        with pytest.raises(TypeError, match="modules"):
            await runtime.launch("answer", remote.answer, modules="json")


@simulated
async def test_a_name_that_is_launched_again_has_the_topics_of_its_kernel_only() -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("one", remote.subscriber)
        await runtime.terminate("one")
        await runtime.launch("one", remote.silent)
        await runtime.publish("news", Job())
        assert (await runtime.statistics("one")).received == 0


# --- runtimes ----------------------------------------------------------------------------------


async def test_a_runtime_may_be_opened_again() -> None:
    runtime = RingKernelRuntime()
    for number in range(2):
        async with runtime:
            await runtime.launch("answer", remote.answer)
            await runtime.activate("answer")
            assert (await runtime.ask("answer", Job(number), timeout=5)).value == number


@simulated
async def test_a_runtime_that_is_open_is_not_opened() -> None:
    runtime = RingKernelRuntime()
    async with runtime:
        block = runtime._block
        try:
            with pytest.raises(RuntimeError, match="open"):
                await runtime.__aenter__()
        finally:
            if runtime._block is not block:
                await runtime.__aexit__(None, None, None)
                runtime._block = block


@pytest.mark.parametrize("verb", ["send", "ask"])
@simulated
async def test_a_runtime_that_was_not_opened_says_so(verb: str) -> None:
    with pytest.raises(RuntimeError, match="open the runtime first"):
        await getattr(RingKernelRuntime(), verb)("answer", Job())


@pytest.mark.parametrize("verb", ["send", "ask"])
async def test_a_runtime_that_was_closed_says_that_its_kernels_have_ended(verb: str) -> None:
    async with RingKernelRuntime() as runtime:
        await runtime.launch("answer", remote.answer)
    with pytest.raises(ActorUnavailable, match="terminated"):
        await getattr(runtime, verb)("answer", Job())


async def test_kernels_can_be_used_from_a_thread_of_their_runtime() -> None:
    async with open_kernels(remote.answer) as runtime:
        reply = await trio.to_thread.run_sync(
            lambda: trio.from_thread.run(runtime.ask, "answer", Job(3), 5)
        )
        assert reply.value == 3


# --- inside a kernel ---------------------------------------------------------------------------


@ring_kernel()
async def misusing(ctx: KernelContext) -> None:
    """Do what a job names, and reply with the error that it is."""
    nothing: Any = object()
    calls: dict[str, Callable[[], Any]] = {
        "send": lambda: ctx.send(nothing),
        "send deep": lambda: ctx.send(Job(items=[{"a": [nothing]}])),
        "send_to": lambda: ctx.send_to("nobody", Job()),
        "ask": lambda: ctx.ask("nobody", Job()),
        "publish": lambda: ctx.publish("news", nothing),
        "batch": lambda: ctx.receive_batch(0, 1),
        "negative": lambda: ctx.receive(timeout=-1),
        "checkpoint": lambda: write(ctx, "/proc/self/no such folder/file"),
        "folder": lambda: write(ctx, "/"),
    }
    async for job in ctx:
        try:
            await calls[job.text]()
        except Exception as error:
            await ctx.reply(job, Note(f"{type(error).__name__}: {error}"))


async def write(ctx: KernelContext, path: str) -> None:
    """Keep something in a checkpoint at *path*."""
    async with ctx.checkpoint(path, {}) as checkpoint:
        checkpoint.state["key"] = 1


@simulated
async def test_a_kernel_survives_its_own_mistakes() -> None:
    expected = {
        "send": "TypeError: object is no message; put @message above the class",
        "send deep": "EncodeError: field 'items' of",
        "send_to": "ValueError: there is no kernel 'nobody'; there are: 'misusing'",
        "ask": "ValueError: there is no kernel 'nobody'",
        "publish": "TypeError: object is no message",
        "batch": "ValueError: a batch has at least one message",
        "negative": "ValueError: ",
        "checkpoint": "FileNotFoundError: ",
        "folder": "IsADirectoryError: ",
    }
    async with open_kernels(misusing) as runtime:
        for text, start in expected.items():
            reply = await runtime.ask("misusing", Job(text=text), timeout=5)
            assert reply.value.startswith(start)
        statistics = await runtime.statistics("misusing")
        assert (statistics.errors, statistics.processed) == (0, len(expected))


@simulated
async def test_a_limit_is_larger_than_what_it_refuses() -> None:
    async with open_kernels(remote.answer) as runtime:
        limit = current_actor().limits.max_message_bytes
        found = await outcome_of(runtime.send, "answer", Job(items=[bytes(limit)]))
        assert isinstance(found, ActorsysError)
        assert f"{limit:,}" in str(found)


SCRIPT = """
import asyncio

from actorsys import RingKernelRuntime


async def main():
    async with RingKernelRuntime():
        pass


asyncio.run(main())
"""


async def test_a_program_that_runs_on_asyncio_is_told_of_trio(tmp_path: Path) -> None:
    from tree_helpers import run_script

    ended = run_script(tmp_path, SCRIPT)
    assert ended.status == 1
    assert "trio.run" in ended.stderr.splitlines()[-1]
