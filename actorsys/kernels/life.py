"""Where a kernel is in its life, and who waits for that to change."""

from __future__ import annotations

import copy

from ..channel.waiters import Waiters
from ..errors import ActorUnavailable
from .ring_kernels import KernelState

_INTAKE_STATES = (KernelState.LAUNCHED, KernelState.ACTIVE, KernelState.DEACTIVATED)


class Life:
    """The state of one kernel, and why it failed if it did. Owned by a `Kernel`."""

    def __init__(self, kernel_name: str) -> None:
        self.state = KernelState.LAUNCHED
        self.failure: Exception | None = None
        self._kernel_name = kernel_name
        self._changed = Waiters()

    def __repr__(self) -> str:
        return f"<Life of {self._kernel_name!r}: {self.state.value}>"

    @property
    def is_over(self) -> bool:
        """Whether it has ended."""
        return self.state in (KernelState.TERMINATED, KernelState.FAILED)

    @property
    def has_intake(self) -> bool:
        """Whether messages are accepted."""
        return self.state in _INTAKE_STATES

    def check_intake(self) -> None:
        """Raise why messages are not accepted, unless they are."""
        if self.state not in _INTAKE_STATES:
            raise self.gone()

    def gone(self) -> Exception:
        """Return why messages are not accepted."""
        if isinstance(self.failure, ActorUnavailable):
            return copy.copy(self.failure)
        why = f": {self.failure}" if self.failure is not None else ""
        return ActorUnavailable(
            f"kernel {self._kernel_name!r} is {self.state.value}, it takes no messages and sends "
            f"none{why}",
            may_have_run=False,
        )

    def enter(self, state: KernelState, failure: Exception | None = None) -> None:
        """Be in *state* from now on."""
        self.state, self.failure = state, failure
        self._changed.wake()

    def note_change(self) -> None:
        """Let everybody who waits look again: at the state, the link, the mailbox or the gate."""
        self._changed.wake()

    async def wait_change(self) -> None:
        """Wait until there is something to look at again."""
        await self._changed.wait()

    async def wait_state(self, state: KernelState) -> None:
        """Wait until it is in *state*.

        Raises:
          ActorUnavailable: it has ended and will never be.
        """
        if not isinstance(state, KernelState):
            raise TypeError(f"a state is a KernelState, not {state!r}")
        while self.state is not state:
            if self.is_over:
                raise self.gone()
            await self._changed.wait()

    async def wait_over(self) -> None:
        """Wait until it has ended."""
        while not self.is_over:
            await self._changed.wait()
