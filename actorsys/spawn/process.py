"""One child process, from fork to reaping."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping

import trio
from trio.lowlevel import enable_ki_protection

from ..errors import SpawnError
from ..limits import Limits
from . import lifeline
from .spec import ActorSpec
from .stderr import StderrRelay

_PACKAGE_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
_BOOT = (
    "import gc, os, sys; gc.disable(); "  # nothing that is imported becomes garbage
    "{tie}"
    "root = {root!r}; root in sys.path or sys.path.insert(0, root); "
    "from actorsys.spawn.boot import main; main({fd}, {parent_pid})"
)


class Process:
    """A child process. Start it, run `watch` beside it, and it will be reaped.

    ``ended`` is set when it is reaped and its stderr is read; then one of ``exit_code`` and
    ``signal`` says how it ended.
    """

    def __init__(self, popen: subprocess.Popen[bytes], lifeline_fd: int, limits: Limits) -> None:
        assert popen.stderr is not None
        self.pid = popen.pid
        self.ended = trio.Event()
        self._limits = limits
        self._popen = popen
        self._status: int | None = None
        self._pidfd = _open_pidfd(popen.pid)
        self._lifeline = trio.lowlevel.FdStream(lifeline_fd)
        self._stderr = StderrRelay(os.dup(popen.stderr.fileno()), limits.stderr_tail_bytes)
        popen.stderr.close()

    def __repr__(self) -> str:
        return f"<Process {self.pid}: {self.describe_end() if self.ended.is_set() else 'alive'}>"

    @classmethod
    def start(cls, spec: ActorSpec, env: Mapping[str, str] | None, limits: Limits) -> Process:
        """Fork and execute a child for *spec*; give it the spec with `send_spec`.

        The fork happens in the calling thread, which must be the one that runs trio: see
        `actorsys.spawn.lifeline`.

        Raises:
          SpawnError: the operating system refused.
        """
        try:
            read_fd, write_fd = os.pipe()
        except OSError as error:
            raise SpawnError(f"cannot start a process for {spec.uid[0]!r}: {error}") from error
        try:
            with _interrupts_held():
                popen = subprocess.Popen(
                    _command(spec, read_fd),
                    stdin=subprocess.DEVNULL,
                    stderr=subprocess.PIPE,
                    pass_fds=(read_fd,),
                    env={**os.environ, **env} if env else None,
                )
        except OSError as error:
            os.close(write_fd)
            raise SpawnError(f"cannot start a process for {spec.uid[0]!r}: {error}") from error
        finally:
            os.close(read_fd)
        try:
            return cls(popen, write_fd, limits)
        except OSError as error:
            with popen:
                popen.kill()
            os.close(write_fd)
            raise SpawnError(f"cannot watch a process for {spec.uid[0]!r}: {error}") from error

    @property
    def exit_code(self) -> int | None:
        """Its exit code, None while it lives, when a signal ended it, or when nobody knows."""
        return None if self._status is None or self._status < 0 else self._status

    @property
    def signal(self) -> int | None:
        """The number of the signal that ended it, or None."""
        return None if self._status is None or self._status >= 0 else -self._status

    @property
    def stderr_tail(self) -> str:
        """The end of its stderr so far."""
        return self._stderr.tail

    def describe_end(self) -> str:
        """Say in words how it ended."""
        if self._status is None:
            return "nobody knows how, since something else in this process took its exit status"
        if self.signal is None:
            return f"exit code {self.exit_code}"
        with contextlib.suppress(ValueError):
            return f"killed by {signal.Signals(self.signal).name}"
        return f"killed by signal {self.signal}"

    async def send_spec(self, spec: ActorSpec) -> None:
        """Tell the child who it is; if it has died meanwhile, `ended` says so."""
        with contextlib.suppress(trio.BrokenResourceError):
            await self._lifeline.send_all(spec.pack())

    def release_stderr(self) -> None:
        """Pass its stderr on to ours from now on."""
        self._stderr.release()

    def send_signal(self, number: int) -> None:
        """Send a signal, unless it is already reaped."""
        if self.ended.is_set() or self._popen.returncode is not None:
            return
        with contextlib.suppress(ProcessLookupError):  # it has ended, and is not reaped yet
            if self._pidfd is not None:
                signal.pidfd_send_signal(self._pidfd, number)
            else:
                os.kill(self.pid, number)

    async def _wait_exit(self) -> None:
        """Wait until it has ended; does not reap it."""
        if self._pidfd is not None:
            await trio.lowlevel.wait_readable(self._pidfd)
            return
        flags = os.WEXITED | os.WNOWAIT
        with contextlib.suppress(ChildProcessError):
            await trio.to_thread.run_sync(
                os.waitid, os.P_PID, self.pid, flags, abandon_on_cancel=True
            )

    def _reap(self) -> None:
        """Reap it, unless somebody has: with SIGCHLD ignored the kernel does, or `os.wait`."""
        try:
            self._status = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        except ChildProcessError:
            self._status = None
        self._popen.returncode = self._status or 0  # so that Popen does not look for it again
        if self._pidfd is not None:
            trio.lowlevel.notify_closing(self._pidfd)
            os.close(self._pidfd)

    @enable_ki_protection
    async def watch(self) -> None:
        """Wait for its end, reap it and read the rest of its stderr."""
        async with trio.open_nursery() as tasks:
            tasks.start_soon(self._stderr.run)
            await self._wait_exit()
            self._reap()
            # A process that it started may hold the pipe open for as long as it likes.
            tasks.cancel_scope.deadline = trio.current_time() + self._limits.drain_seconds
        await self._lifeline.aclose()
        self.ended.set()


def _open_pidfd(pid: int) -> int | None:
    """Return a descriptor for the process *pid*; None where there are none, or it is gone."""
    if not hasattr(os, "pidfd_open"):
        return None
    with contextlib.suppress(ProcessLookupError):
        return os.pidfd_open(pid)
    return None


def _command(spec: ActorSpec, fd: int) -> list[str]:
    tie = lifeline.TIE_FIRST if sys.platform == "linux" else ""
    boot = _BOOT.format(
        tie=tie.format(parent_pid=os.getpid()),
        root=_PACKAGE_ROOT,
        fd=fd,
        parent_pid=os.getpid(),
    )
    flags = subprocess._args_from_interpreter_flags()  # type: ignore[attr-defined]
    # -P keeps the working directory, where anything may lie, off the import path while booting.
    safe_path = [] if "-P" in flags else ["-P"]
    return [sys.executable, *flags, *safe_path, "-c", boot, f"actor:{spec.uid[0]}"]


@contextlib.contextmanager
def _interrupts_held() -> Iterator[None]:
    """Let a child start with SIGINT blocked, until it has a handler.

    Ctrl-C reaches every process of the terminal; only the root shall act on it.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
