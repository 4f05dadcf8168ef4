"""One life of a child actor, from the start of its process to its reaping."""

from __future__ import annotations

import copy
import functools
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import trio
from trio.lowlevel import enable_ki_protection

from ..actor import Actor, ProcessHandle, make_channel
from ..actor.introductions import calls_of_child, notices_of_child
from ..channel import Channel, Exposure
from ..errors import ActorDied, SpawnError, Uid
from ..limits import Limits
from ..spawn import ActorSpec
from ..wire.handshake import KEY_BYTES

OnEnd = Callable[["Incarnation", bool], None]
"""Called when a life has ended, with whether somebody was told why."""

MakeSpec = Callable[[Uid, bytes], Awaitable[ActorSpec]]
"""Makes the spec of a process, given its uid and its key."""


class Incarnation:
    """One life of a child: its process and its link, from the start to the reaping.

    Owned by a `Child`. ``ended`` is set when the process is reaped and every call has been told;
    ``death`` is the reason then, ``ended_at`` the moment, and ``on_end`` is called.
    """

    def __init__(self, actor: Actor, uid: Uid, services: trio.Nursery) -> None:
        self.uid = uid
        self.ended = trio.Event()
        self.death: ActorDied | None = None
        self.ended_at = 0.0
        self.is_stopping = False
        self.on_end: OnEnd | None = None
        self._actor = actor
        self._services = services
        self._process: ProcessHandle | None = None
        self._channel: Channel | None = None
        self._killed_for: Exception | None = None
        self._is_unwanted = False
        self._is_given_up = False
        self._was_signalled = False

    def __repr__(self) -> str:
        state = "ended" if self.death else "stopping" if self.is_stopping else "running"
        return f"<Incarnation {self.uid!r}: {state}, pid {self.pid}>"

    @property
    def pid(self) -> int | None:
        """The id of its process, None before there is one."""
        return self._process.pid if self._process is not None else None

    @property
    def open_channel(self) -> Channel | None:
        """Its link while that is open, or None."""
        channel = self._channel
        is_usable = channel is not None and channel.is_open and not self._is_given_up
        return channel if is_usable else None

    @property
    def has_ended_normally(self) -> bool:
        """Whether its process ended by itself and without an error."""
        assert self._process is not None
        return self._process.exit_code == 0

    @property
    def has_ended_as_asked(self) -> bool:
        """Whether its death is what somebody here wanted, and no failure of its own."""
        in_order = self.has_ended_normally or self._was_signalled
        return self._is_unwanted or (self.is_stopping and in_order)

    # --- its end -------------------------------------------------------------------------

    async def stop_for_restart(self, grace: float, why: str) -> None:
        """Stop it, to be started again; its callers are told at once, and later ones wait."""
        self._is_given_up = True
        if self._channel is not None and self.death is None:
            self._channel.fail_calls(functools.partial(self._make_notice, why))
        await self.stop(grace)

    def _make_notice(self, why: str, may_have_run: bool) -> ActorDied:
        return ActorDied(
            f"actor {self.uid[0]!r} (pid {self.pid}) is stopped, to be started again: {why}",
            uid=self.uid,
            pid=self.pid or 0,
            may_have_run=may_have_run,
        )

    @enable_ki_protection
    async def stop(self, grace: float | None, *, is_unwanted: bool = False) -> None:
        """Stop it in good order, then with signals; return when it is reaped.

        *is_unwanted* says that somebody wants this very one to end: it does not matter then how.
        """
        self.is_stopping = True
        self._is_unwanted |= is_unwanted
        with trio.CancelScope(shield=True):
            grace = self._actor.grace_for_children(grace)
            self._ask_to_stop(grace)
            steps = ((grace, signal.SIGTERM), (self._limits.kill_after_seconds, signal.SIGKILL))
            for seconds, number in steps:
                with trio.move_on_after(seconds):
                    await self.ended.wait()
                    break
                self._signal(number)
            await self.ended.wait()

    def kill(self) -> None:
        """Kill its process now."""
        self.is_stopping = True
        self._signal(signal.SIGKILL)

    async def discard(self) -> None:
        """Kill it, and return when it is reaped."""
        self.kill()
        with trio.CancelScope(shield=True):
            await self.ended.wait()

    def make_death(self, may_have_run: bool) -> ActorDied:
        """Return a fresh copy of the reason, for one caller."""
        assert self.death is not None
        death = copy.copy(self.death)
        death.may_have_run = may_have_run
        return death

    # --- its life ------------------------------------------------------------------------

    @enable_ki_protection
    async def start(self, make_spec: MakeSpec, env: Mapping[str, str] | None) -> None:
        """Start the process and wait until it is connected and ready.

        If cancelled, the process is killed and reaped before this returns.

        Raises:
          SpawnError: it ended first; the error holds the end of its stderr.
        """
        key = self._actor.host.chance.randbytes(KEY_BYTES)
        spec = await make_spec(self.uid, key)
        with self._actor.reception.expect(self.uid, key) as expected:
            process = self._process = self._actor.host.launch(spec, env, self._limits)
            self._services.start_soon(process.watch)
            try:
                await process.send_spec(spec)
                await _first_of(expected.arrived.wait, process.ended.wait)
                if expected.connection is None:
                    raise self._spawn_error(process)
            except BaseException:
                process.send_signal(signal.SIGKILL)
                with trio.CancelScope(shield=True):
                    await process.ended.wait()
                    if expected.connection is not None:
                        await trio.aclose_forcefully(expected.connection[0])
                raise
        process.release_stderr()
        channel = self._channel = make_channel(
            self._actor,
            expected.connection,
            Exposure(),
            calls=calls_of_child(self._actor),
            notices=notices_of_child(self._actor),
        )
        self._services.start_soon(self._actor.run_channel, channel)
        self._services.start_soon(self._tend, process, channel)

    @enable_ki_protection
    async def _tend(self, process: ProcessHandle, channel: Channel) -> None:
        """Wait for its end, tell every caller, and report to the nursery."""
        await _first_of(process.ended.wait, channel.lost.wait)
        if not (process.ended.is_set() or self.is_stopping):
            with trio.move_on_after(self._limits.link_loss_seconds):
                await process.ended.wait()
        if not (process.ended.is_set() or self.is_stopping):
            # Without a link it can be neither asked nor stopped in good order.
            self._killed_for = channel.reason
            process.send_signal(signal.SIGKILL)
        await process.ended.wait()
        self.ended_at = trio.current_time()
        # What it had said before it ended may still be on its way, and is told first.
        with trio.move_on_after(self._limits.drain_seconds):
            await channel.lost.wait()
        told_count = self._fail_calls(process, channel)
        self.ended.set()
        if self.on_end is not None:
            self.on_end(self, bool(told_count) or self.has_ended_as_asked)

    def _fail_calls(self, process: ProcessHandle, channel: Channel) -> int:
        """Fail the calls in flight; return how many were waited for."""
        how = process.describe_end()
        if self.is_stopping and process.exit_code == 0:
            how = "it was stopped"
        if self._killed_for is not None:
            how = f"{how}, because its link was lost: {self._killed_for}"
        self.death = ActorDied(
            f"actor {self.uid[0]!r} (pid {process.pid}) ended: {how}",
            uid=self.uid,
            pid=process.pid,
            exit_code=process.exit_code,
            signal=process.signal,
            stderr_tail=process.stderr_tail,
        )
        return channel.fail_calls(self.make_death)

    def _spawn_error(self, process: ProcessHandle) -> SpawnError:
        tail = process.stderr_tail.rstrip()
        said = f"; its stderr ends:\n{tail}" if tail else ", saying nothing"
        return SpawnError(
            f"actor {self.uid[0]!r} died while starting: {process.describe_end()}{said}",
            exit_code=process.exit_code,
            signal=process.signal,
            stderr_tail=process.stderr_tail,
        )

    def _ask_to_stop(self, grace: float) -> None:
        channel = self._channel
        if channel is not None and channel.is_open:
            channel.send_runtime_call("stop", {"grace": grace})

    def _signal(self, number: int) -> None:
        self._was_signalled = True
        if self._process is not None:
            self._process.send_signal(number)

    @property
    def _limits(self) -> Limits:
        return self._actor.limits


async def _first_of(*waits: Callable[[], Awaitable[Any]]) -> None:
    """Return when the first of *waits* does."""

    async def wait_and_end(wait: Callable[[], Awaitable[Any]]) -> None:
        await wait()
        race.cancel_scope.cancel()

    try:
        async with trio.open_nursery() as race:
            for wait in waits:
                race.start_soon(wait_and_end, wait)
    except BaseExceptionGroup as group:
        # Nothing but a cancellation or an interrupt comes out of waiting.
        if group.subgroup(KeyboardInterrupt) is None:
            raise
        raise KeyboardInterrupt from None
