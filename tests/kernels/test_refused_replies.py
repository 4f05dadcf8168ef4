"""What a kernel wants to send and cannot costs it nothing else."""

from __future__ import annotations

import pytest
from kernel_helpers import open_kernels, simulated

from actorsys import KernelContext, LimitExceeded, MailboxOptions, message, ring_kernel
from actorsys.limits import DEFAULT_LIMITS

AT_HAND = 2  # messages that a kernel with so small a mailbox has at most


@message
class Note:
    text: bytes


@ring_kernel()
async def exaggerating(ctx: KernelContext) -> None:
    """Answer with too much, then with what can travel."""
    async for note in ctx:
        with pytest.raises(LimitExceeded):
            await ctx.reply(note, Note(bytes(DEFAULT_LIMITS.max_message_bytes + 1)))
        await ctx.send(note)


@simulated
async def test_a_kernel_that_sends_too_much_still_gets_its_messages() -> None:
    async with open_kernels(exaggerating, mailbox=MailboxOptions(AT_HAND)) as runtime:
        for _ in range(AT_HAND + 1):
            await runtime.send("exaggerating", Note(b""))
            await runtime.receive("exaggerating", timeout=10)
