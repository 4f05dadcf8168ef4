"""The samples of the users' document on message passing, and what they leave to the reader.

Two samples name a function that no document defines, to reach another actor from inside one;
here it is `KernelContext.send_to`.
"""

from __future__ import annotations

import ast
import operator
import time
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from actorsys import KernelContext, message, ring_kernel

# --- overview, priority, correlation ---------------------------------------------------------


@message
@dataclass
class WorkRequest:
    data: list[float]
    operation: str = "sum"


@message
@dataclass
class WorkResponse:
    result: float = 0.0


@message
@dataclass
class MyMessage:
    # Your fields
    data: str

    # Added automatically:
    message_id: UUID  # Unique identifier
    priority: int = 128  # Processing priority (0-255)
    correlation_id: UUID | None = None  # Links responses to requests


def compute(request: WorkRequest) -> float:
    return float(sum(request.data))


@ring_kernel(kernel_id="worker")
async def worker(ctx: KernelContext) -> None:
    while not ctx.should_terminate:
        # In actor
        request = await ctx.receive()
        response = WorkResponse(
            result=compute(request),
            correlation_id=request.message_id,  # Link to request
        )
        await ctx.send(response)


# --- large data ------------------------------------------------------------------------------


@message
@dataclass
class GoodRequest:
    buffer_id: str  # Reference to UnifiedBuffer
    size: int


@ring_kernel(kernel_id="sizes")
async def sizes(ctx: KernelContext) -> None:
    async for request in ctx:
        await ctx.reply(request, WorkResponse(result=float(request.size)))


# --- request and response --------------------------------------------------------------------


@message
@dataclass
class CalculateRequest:
    expression: str
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


@message
@dataclass
class CalculateResponse:
    result: float
    success: bool = True
    error: str | None = None
    message_id: UUID = field(default_factory=uuid4)
    priority: int = 128
    correlation_id: UUID | None = None


def evaluate(expression: str) -> float:
    """Return the value of a sum or a quotient."""
    tree = ast.parse(expression, mode="eval").body
    operators = {ast.Add: operator.add, ast.Div: operator.truediv}
    if not isinstance(tree, ast.BinOp) or type(tree.op) not in operators:
        raise ValueError(f"cannot calculate {expression!r}")
    left, right = ast.literal_eval(tree.left), ast.literal_eval(tree.right)
    return float(operators[type(tree.op)](left, right))


@ring_kernel(kernel_id="calculator")
async def calculator(ctx: KernelContext) -> None:
    async for request in ctx:
        try:
            response = CalculateResponse(evaluate(request.expression))
        except Exception as error:
            response = CalculateResponse(0.0, success=False, error=str(error))
        await ctx.reply(request, response)


# --- fire and forget -------------------------------------------------------------------------


@message
@dataclass
class LogEvent:
    level: str
    message: str
    timestamp: float = field(default_factory=time.time)


LOGGED: list[LogEvent] = []


@ring_kernel(kernel_id="logger")
async def logger(ctx: KernelContext) -> None:
    async for event in ctx:
        LOGGED.append(event)


# --- publish and subscribe -------------------------------------------------------------------


@message
@dataclass
class Event:
    data: str


@ring_kernel(kernel_id="topic_processor")
async def topic_processor(ctx):
    subscribers = ["sub1", "sub2", "sub3"]
    forward_to = ctx.send_to

    while not ctx.should_terminate:
        event = await ctx.receive(timeout=0.1)
        for sub in subscribers:
            await forward_to(sub, event)


@ring_kernel(kernel_id="subscriber")
async def subscriber(ctx: KernelContext) -> None:
    async for event in ctx:
        await ctx.send(event)


# --- pipeline --------------------------------------------------------------------------------


@message
@dataclass
class RawData:
    values: list[int]


@message
@dataclass
class Ack:
    pass


def preprocess(raw: RawData) -> RawData:
    return RawData([2 * value for value in raw.values])


# Connect stages in actor
@ring_kernel(kernel_id="stage1")
async def stage1(ctx):
    while not ctx.should_terminate:
        raw = await ctx.receive(timeout=0.1)
        processed = preprocess(raw)
        # Forward to next stage
        await ctx.send_to("stage2", processed)
        await ctx.send(Ack())  # Acknowledge to caller


@ring_kernel(kernel_id="stage2")
async def stage2(ctx):
    while not ctx.should_terminate:
        raw = await ctx.receive(timeout=0.1)
        await ctx.send_to("stage3", RawData([*raw.values, -1]))


@ring_kernel(kernel_id="stage3")
async def stage3(ctx):
    while not ctx.should_terminate:
        await ctx.send(await ctx.receive(timeout=0.1))


# --- error handling --------------------------------------------------------------------------


@message
@dataclass
class Response:
    success: bool = True
    error: str | None = None
    error_code: int | None = None
    result: Any = None


class ValidationError(Exception):
    pass


def risky_operation(request: WorkRequest) -> Any:
    if request.operation == "invalid":
        raise ValidationError("that is no operation")
    if request.operation == "unexpected":
        raise KeyError("an internal secret")
    return {"sum": sum(request.data), "of": tuple(request.data)}


@ring_kernel(kernel_id="risky")
async def risky(ctx: KernelContext) -> None:
    async for request in ctx:
        # In actor
        try:
            result = risky_operation(request)
            await ctx.send(Response(success=True, result=result))
        except ValidationError as e:
            await ctx.send(Response(success=False, error=str(e), error_code=400))
        except Exception:
            await ctx.send(Response(success=False, error="Internal error", error_code=500))
