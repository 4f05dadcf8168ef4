"""Kernels under test. Tests launch them in a simulation and in processes of their own."""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass, field
from typing import Any

import trio

from actorsys import KernelContext, ReceiveTimeout, current_actor, message, ring_kernel

logger = logging.getLogger("some.program")

CRASH = "crash"
LINE_CHARS = 6000  # more than a pipe takes as a whole


@message
@dataclass
class Job:
    """What all of these kernels take: a number, what to do with it, and how long that takes."""

    number: int = 0
    text: str = ""
    seconds: float = 0.0
    items: list[Any] = field(default_factory=list)


@message
@dataclass
class Note:
    """What they send: something to look at."""

    value: Any = None
    who: str = ""


async def work_at(job: Job) -> None:
    """Take as long as *job* says, and crash if it says so.

    The short sleep lets the runtime hear that the message was taken.
    """
    await trio.sleep(job.seconds or 0.01)
    if job.text == CRASH:
        raise RuntimeError(f"crashed at {job.number}")


# --- one after the other ---------------------------------------------------------------------


@ring_kernel()
async def answer(ctx: KernelContext) -> None:
    """Reply to every job with its number."""
    async for job in ctx:
        await ctx.reply(job, Note(job.number, ctx.kernel_id))


@ring_kernel()
async def echo(ctx: KernelContext) -> None:
    """Send every message back as it is."""
    async for job in ctx:
        await ctx.reply(job, job)


@ring_kernel()
async def worker(ctx: KernelContext) -> None:
    """Work at one job after the other, and reply when each is done; count the jobs."""
    count = 0
    await ctx.send(Note("started", ctx.kernel_id))
    async for job in ctx:
        await work_at(job)
        count += 1
        await ctx.reply(job, Note((job.number, count)))
    await ctx.send(Note("cleaned up"))


@ring_kernel()
async def quiet(ctx: KernelContext) -> None:
    """Work at one job after the other, and reply; say nothing else."""
    async for job in ctx:
        await work_at(job)
        await ctx.reply(job, Note(job.number))


@ring_kernel()
async def noting(ctx: KernelContext) -> None:
    """Work at jobs, and send what was done without a correlation; crash before or after that."""
    async for job in ctx:
        await work_at(job)
        await ctx.send(Note(job.number))


@ring_kernel()
async def crowd(ctx: KernelContext) -> None:
    """Work at all jobs at the same time, so that replies come in any order."""

    async def handle(job: Job) -> None:
        await trio.sleep(job.seconds)
        await ctx.reply(job, Note(job.number))

    async with trio.open_nursery() as tasks:
        async for job in ctx:
            tasks.start_soon(handle, job)


@ring_kernel()
async def silent(ctx: KernelContext) -> None:
    """Take jobs and reply to none."""
    async for _ in ctx:
        pass


RECORD: list[Any] = []
"""What has been done, in order; only a simulation shares it with its tests."""


@ring_kernel()
async def recording(ctx: KernelContext) -> None:
    """Note in RECORD what is taken and what is done."""
    count = 0
    async for job in ctx:
        RECORD.append(("taken", job.number))
        await work_at(job)
        count += 1
        RECORD.append(("done", job.number, count))


@ring_kernel()
async def falling(ctx: KernelContext) -> None:
    """Note what is taken, and let the process end in the same moment if the job says so."""
    async for job in ctx:
        RECORD.append(job.number)
        if job.text == CRASH:
            current_actor().host.exit(1)
            await trio.sleep_forever()


# --- receiving -------------------------------------------------------------------------------


@ring_kernel()
async def patient(ctx: KernelContext) -> None:
    """Receive with a timeout, and tell what came of each attempt."""
    while not ctx.should_terminate:
        before = trio.current_time()
        try:
            job = await ctx.receive(timeout=0.1)
        except TimeoutError as error:
            waited = round(trio.current_time() - before, 3)
            kinds = isinstance(error, ReceiveTimeout), isinstance(error, trio.TooSlowError)
            await ctx.send(Note(["timeout", waited, ctx.should_terminate, *kinds]))
        else:
            await ctx.send(Note(["job", job.number]))


@ring_kernel()
async def unhandled(ctx: KernelContext) -> None:
    """Receive with a timeout that nobody handles, as some loops of the documents do."""
    await ctx.send(Note("started"))
    while not ctx.should_terminate:
        job = await ctx.receive(timeout=0.1)
        await ctx.send(Note(job.number))


@ring_kernel()
async def endings(ctx: KernelContext) -> None:
    """Tell how each way of receiving ends when the kernel shall."""
    async for job in ctx:
        await ctx.send(Note(["in the loop", job.number, ctx.should_terminate]))
    await ctx.send(Note(["after the loop", ctx.should_terminate]))
    before = trio.current_time()
    try:
        await ctx.receive(timeout=60)
    except ReceiveTimeout:
        await ctx.send(Note(["timeout", trio.current_time() - before]))
    await ctx.send(Note(["batch", await ctx.receive_batch(5, 60)]))
    await ctx.wait_active()
    try:
        await ctx.receive()
    except trio.EndOfChannel:
        await ctx.send(Note(["end of channel"]))


@ring_kernel()
async def ending_unhandled(ctx: KernelContext) -> None:
    """Let the end of the channel out."""
    while True:
        await ctx.receive()


@ring_kernel()
async def batches(ctx: KernelContext) -> None:
    """Take up to three jobs at a time, half a second after the first one."""
    while not ctx.should_terminate:
        jobs = await ctx.receive_batch(3, 0.5)
        await ctx.send(Note([job.number for job in jobs]))


@ring_kernel()
async def waiting(ctx: KernelContext) -> None:
    """Tell each change between active and not, as the template of the documents is built."""
    await ctx.send(Note(["launched", ctx.is_active]))
    while not ctx.should_terminate:
        if not ctx.is_active:
            await ctx.wait_active()
            await ctx.send(Note(["awake", ctx.is_active, ctx.should_terminate]))
            continue
        try:
            job = await ctx.receive(timeout=0.05)
        except TimeoutError:
            continue
        await ctx.send(Note(["job", job.number]))


# --- sending ---------------------------------------------------------------------------------


@ring_kernel()
async def relay(ctx: KernelContext) -> None:
    """Do to the kernel that a job names what it says, and reply with the outcome."""
    async for job in ctx:
        verb, name = job.text.split()
        try:
            if verb == "send":
                result = await ctx.send_to(name, Job(job.number))
            elif verb == "publish":
                result = await ctx.publish(name, Job(job.number))
            elif verb == "ask":
                result = (await ctx.ask(name, Job(job.number), timeout=1)).value
            else:
                result = await ctx.send(job.items)
        except Exception as error:
            result = f"{type(error).__name__}: {error}"
        await ctx.reply(job, Note(result))


@ring_kernel()
async def twice(ctx: KernelContext) -> None:
    """Send two responses to each job; both are correlated."""
    async for job in ctx:
        await ctx.reply(job, Note("first"))
        await ctx.reply(job, Note("second"))


@ring_kernel()
async def hasty(ctx: KernelContext) -> None:
    """Ask `quiet` before there is anything to take."""
    await ctx.send(await ctx.ask("quiet", Job(7)))


@ring_kernel()
async def asker(ctx: KernelContext) -> None:
    """Ask `quiet` for what a job says; one with the word crash while the answer is awaited."""
    async for job in ctx:
        request = Job(job.number, seconds=job.seconds)
        if job.text != CRASH:
            reply = await ctx.ask("quiet", request)
            await ctx.reply(job, reply)
            continue
        async with trio.open_nursery() as tasks:
            tasks.start_soon(ctx.ask, "quiet", request)
            await trio.sleep(0.1)
            raise RuntimeError("crashed while it asked")


@ring_kernel()
async def retrying(ctx: KernelContext) -> None:
    """Ask a kernel that does not answer, give up, and ask the same once more."""
    async for job in ctx:
        with trio.move_on_after(0.1):
            await ctx.ask("silent", job)
        try:
            await ctx.ask("silent", job, timeout=0.1)
        except Exception as error:
            await ctx.reply(job, Note(type(error).__name__))


@ring_kernel()
async def impatient(ctx: KernelContext) -> None:
    """Ask a kernel that does not answer, and let the timeout out."""
    await ctx.send(Note("started"))
    async for job in ctx:
        await ctx.ask("silent", Job(job.number), timeout=0.1)


@ring_kernel(topics=("news",))
async def subscriber(ctx: KernelContext) -> None:
    async for job in ctx:
        await ctx.send(Note(job.number, ctx.kernel_id))


# --- ending in ways of its own ---------------------------------------------------------------


@ring_kernel()
async def brief(ctx: KernelContext) -> None:
    """Return after one job, asked or not."""
    await ctx.send(Note("started"))
    job = await ctx.receive()
    await ctx.reply(job, Note("that was all"))
    await trio.sleep(0.01)


@ring_kernel()
async def broken_start(ctx: KernelContext) -> None:
    """Crash before the first message."""
    await trio.sleep(0.01)
    raise RuntimeError("no way to start")


@ring_kernel()
async def exiting(ctx: KernelContext) -> None:
    """Leave by ``sys.exit`` at the first job."""
    await ctx.send(Note("started"))
    job = await ctx.receive()
    await trio.sleep(0.01)
    raise SystemExit(job.number)


@ring_kernel()
async def stubborn(ctx: KernelContext) -> None:
    """Notice no request to end."""
    await ctx.receive()
    await trio.sleep_forever()


@ring_kernel()
async def _private(ctx: KernelContext) -> None:
    async for _ in ctx:
        pass


@ring_kernel()
async def keeper(ctx: KernelContext) -> None:
    """Count jobs in a file: the first one names it."""
    first = await ctx.receive()
    async with ctx.checkpoint(first.text, {"count": 0}) as kept:
        await ctx.reply(first, Note(kept.state["count"]))
        async for job in ctx:
            kept.state["count"] += 1
            await kept.count()
            if job.text == CRASH:
                raise RuntimeError("crashed after it was counted")
            await ctx.reply(job, Note(kept.state["count"]))


# --- for processes only ----------------------------------------------------------------------

SHARED = {"count": 0}


@ring_kernel()
async def census(ctx: KernelContext) -> None:
    """Reply with the pid and with a global that every process counts for itself."""
    async for job in ctx:
        SHARED["count"] += 1
        job.items.append("changed here")
        await ctx.reply(job, Note([os.getpid(), SHARED["count"], job.items], ctx.kernel_id))


@ring_kernel()
async def blocking(ctx: KernelContext) -> None:
    """Block the whole process, at the start and at each job."""
    time.sleep(0.3)
    async for job in ctx:
        time.sleep(job.seconds)
        await ctx.reply(job, Note(job.number))


@ring_kernel()
async def never_awaits(ctx: KernelContext) -> None:
    """Count for ever, as an example of the documents does."""
    count = 0
    while not ctx.should_terminate:
        count += 1


@ring_kernel()
async def at_once(ctx: KernelContext) -> None:
    """Take what is there, and wait for no more."""
    while not ctx.should_terminate:
        jobs = await ctx.receive_batch(10, 0)
        await ctx.send(Note([job.number for job in jobs]))


@ring_kernel()
async def talkative(ctx: KernelContext) -> None:
    """Log in every way that a program might, a line or many, as a job says."""
    async for job in ctx:
        if job.text == "lines":
            for number in range(job.number):
                logger.warning("%s line %d %s.", ctx.kernel_id, number, "x" * LINE_CHARS)
        elif job.text == "named":
            logger.error("a named logger")
        elif job.text == "quiet":
            logger.info("nobody wants to know")
        elif job.text == "exception":
            try:
                raise ValueError("an error in hand")
            except ValueError:
                logger.exception("an exception")
        elif job.text == "module":
            logging.error("the functions of the module")
        elif job.text == "formatted":
            handler = logging.StreamHandler()
            handler.setFormatter(logging.Formatter("<%(actor)s> %(message)s"))
            logging.getLogger().addHandler(handler)
            logger.warning("a format of its own")
            logging.getLogger().removeHandler(handler)
        await work_at(job)
        await ctx.reply(job, Note(job.text))


@ring_kernel()
async def dying(ctx: KernelContext) -> None:
    """Write each number to a file; send much, or die in one way or another, as the job says."""
    async for job in ctx:
        with open(job.items[0], "a") as file:
            file.write(f"{job.number} ")
        if job.text == CRASH:
            os._exit(1)
        if job.text == "raise":
            raise RuntimeError("an error of its own")
        if job.text == "much":
            await ctx.send(Note(bytes(8_000_000)))
        await ctx.reply(job, Note(job.number))
