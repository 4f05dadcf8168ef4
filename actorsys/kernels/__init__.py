"""Typed messages, mailboxes and ring kernels: actors that are fed by a queue.

This floor knows the tree and how to call into it. It does not know routes.
"""

from .checkpoint import Checkpoint
from .kernel_context import KernelContext
from .mailbox import BackpressureStrategy
from .messages import Message, Priority, message
from .ring_kernels import KernelState, MailboxOptions, ring_kernel
from .runtime import RingKernelRuntime
from .statistics import KernelStatistics

__all__ = [
    "BackpressureStrategy",
    "Checkpoint",
    "KernelContext",
    "KernelState",
    "KernelStatistics",
    "MailboxOptions",
    "Message",
    "Priority",
    "RingKernelRuntime",
    "message",
    "ring_kernel",
]
