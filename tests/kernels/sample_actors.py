"""The samples of the users' document on building actors, and the helpers that they name.

What the helpers do is noted in lists, which a simulation shares with its tests.
"""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import trio

from actorsys import KernelContext, message, ring_kernel

EVENTS: list[Any] = []
"""What the helpers were called with, in order."""

DISK: dict[str, dict[str, int]] = {}
"""The files of `persistent_actor`."""


# --- basic template --------------------------------------------------------------------------


@message
@dataclass
class Question:
    text: str


@message
@dataclass
class Answer:
    text: str


def initialize_state() -> dict[str, int]:
    EVENTS.append("initialized")
    return {"count": 0}


def process(request: Question, state: dict[str, int]) -> Answer:
    if request.text == "business":
        return request.reply(Answer, "error: out of stock")
    if request.text == "infrastructure":
        raise ConnectionRefusedError("nobody is there")
    state["count"] += 1
    return request.reply(Answer, f"{request.text} {state['count']}")


def log_error(error: Exception) -> None:
    EVENTS.append(f"logged {type(error).__name__}")


def cleanup(state: dict[str, int]) -> None:
    EVENTS.append(f"cleaned up at {state['count']}")


@ring_kernel(kernel_id="my_actor")
async def my_actor(ctx: KernelContext) -> None:
    """
    Actor description.

    Explain what this actor does and any important behavior.
    """
    # === INITIALIZATION ===
    # One-time setup (load models, initialize state)
    state = initialize_state()

    # === MAIN LOOP ===
    while not ctx.should_terminate:
        # Handle deactivation
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            # Receive with timeout
            request = await ctx.receive(timeout=0.1)

            # Process request
            response = process(request, state)

            # Send response
            await ctx.send(response)

        except TimeoutError:
            continue
        except Exception as e:
            # Log but don't crash
            log_error(e)
            continue

    # === CLEANUP ===
    cleanup(state)


# --- the calculator --------------------------------------------------------------------------


@message
@dataclass
class CalculateRequest:
    """Request to perform calculation."""

    # Business fields
    a: float
    b: float
    operation: str = "add"

    # Standard fields (added by @message but shown for clarity)
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


@message
@dataclass
class CalculateResponse:
    """Response with calculation result."""

    # Result field
    result: float

    # Success/error fields
    success: bool = True
    error: str | None = None
    error_code: str | None = None

    # Standard fields
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


def calculate(a: float, b: float, operation: str) -> float:
    if operation == "add":
        return a + b
    if operation == "div":
        return a / b
    if operation == "unexpected":
        raise KeyError("a mistake")
    raise ValueError(f"unknown operation {operation!r}")


@ring_kernel(kernel_id="calculator")
async def calculator(ctx: KernelContext) -> None:
    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            # Business logic with error handling
            try:
                result = calculate(request.a, request.b, request.operation)
                await ctx.send(
                    CalculateResponse(
                        result=result,
                        success=True,
                        correlation_id=request.message_id,
                    )
                )

            except ZeroDivisionError:
                await ctx.send(
                    CalculateResponse(
                        result=0.0,
                        success=False,
                        error="Division by zero",
                        error_code="DIVIDE_BY_ZERO",
                        correlation_id=request.message_id,
                    )
                )

            except ValueError as e:
                await ctx.send(
                    CalculateResponse(
                        result=0.0,
                        success=False,
                        error=str(e),
                        error_code="INVALID_INPUT",
                        correlation_id=request.message_id,
                    )
                )

        except TimeoutError:
            continue
        except Exception:
            # Unexpected error - log but continue
            logging.exception("Unexpected error in calculator")
            continue


# --- the counter -----------------------------------------------------------------------------


@message
@dataclass
class CounterRequest:
    action: str


@message
@dataclass
class CounterResponse:
    count: int


@ring_kernel(kernel_id="counter")
async def counter(ctx: KernelContext) -> None:
    """Counter that maintains state across messages."""

    # Private state
    count = 0
    history: list[int] = []

    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            if request.action == "increment":
                count += 1
            elif request.action == "decrement":
                count -= 1
            elif request.action == "reset":
                count = 0

            history.append(count)

            await ctx.send(
                CounterResponse(
                    count=count,
                    correlation_id=request.message_id,
                )
            )

        except TimeoutError:
            continue


# --- state that lasts ------------------------------------------------------------------------


def load_state_from_disk(name: str) -> dict[str, int]:
    state = dict(DISK.get(name, {"count": 0}))
    EVENTS.append(("loaded", state["count"]))
    return state


def save_state_to_disk(name: str, state: dict[str, int]) -> None:
    DISK[name] = dict(state)
    EVENTS.append(("saved", state["count"]))


def update_state(state: dict[str, int], request: Question) -> None:
    state["count"] += 1


@ring_kernel(kernel_id="persistent_actor")
async def persistent_actor(ctx: KernelContext) -> None:
    # Load persisted state
    state = load_state_from_disk("actor_state.json")
    messages_since_save = 0

    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            # Update state
            update_state(state, request)
            messages_since_save += 1

            # Periodic persistence
            if messages_since_save >= 100:
                save_state_to_disk("actor_state.json", state)
                messages_since_save = 0

            await ctx.send(request.reply(Answer, f"{state['count']}"))

        except TimeoutError:
            continue

    # Save on shutdown
    save_state_to_disk("actor_state.json", state)


# --- heavy resources -------------------------------------------------------------------------


@message
@dataclass
class InferenceRequest:
    data: list[float]


@message
@dataclass
class InferenceResponse:
    prediction: float


class Model:
    def predict(self, data: list[float]) -> float:
        return max(data)


def load_large_model(path: str) -> Model:
    EVENTS.append(f"loaded {path}")
    return Model()


@ring_kernel(kernel_id="ml_inference")
async def ml_inference(ctx: KernelContext) -> None:
    """ML inference actor with model loading."""

    # Load model once at startup
    print(f"[{ctx.kernel_id}] Loading model...")
    model = load_large_model("model.pt")
    print(f"[{ctx.kernel_id}] Model loaded!")

    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            continue

        try:
            request = await ctx.receive(timeout=0.1)

            # Use pre-loaded model
            prediction = model.predict(request.data)

            await ctx.send(
                InferenceResponse(
                    prediction=prediction,
                    correlation_id=request.message_id,
                )
            )

        except TimeoutError:
            continue

    # Cleanup
    print(f"[{ctx.kernel_id}] Unloading model...")
    del model


# --- anti-patterns ---------------------------------------------------------------------------


@ring_kernel(kernel_id="polite")
async def polite(ctx: KernelContext) -> None:
    # GOOD: Use async sleep
    while not ctx.should_terminate:
        request = await ctx.receive(timeout=0.1)
        await trio.sleep(1)  # Non-blocking
        await ctx.send(request.reply(Answer, "after a second"))


@ring_kernel(kernel_id="impolite")
async def impolite(ctx: KernelContext) -> None:
    # BAD: Blocking operation
    while not ctx.should_terminate:
        request = await ctx.receive(timeout=0.1)
        time.sleep(0.3)  # BLOCKS EVENT LOOP!
        await ctx.send(request.reply(Answer, "after a while"))


# BAD: Shared mutable state
shared_counter = {"count": 0}


@ring_kernel(kernel_id="sharing")
async def sharing(ctx: KernelContext) -> None:
    while not ctx.should_terminate:
        request = await ctx.receive(timeout=0.1)
        shared_counter["count"] += 1
        await ctx.send(request.reply(Answer, f"{shared_counter['count']}"))
