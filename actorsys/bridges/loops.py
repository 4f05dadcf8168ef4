"""An asyncio loop of our own: made without the policy, kept running, ended in good order."""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable

OnCrash = Callable[[BaseException | None], None]
"""Called when a loop has ended by itself: with the error, or None when it was stopped."""


def make_loop(uvloop: bool) -> asyncio.AbstractEventLoop:
    """Return a new loop. No policy and no current loop of the thread is changed.

    Raises:
      ImportError: uvloop is wanted and not installed.
    """
    if uvloop:
        return _make_uvloop()
    return asyncio.SelectorEventLoop()


def _make_uvloop() -> asyncio.AbstractEventLoop:
    try:
        import uvloop
    except ImportError as error:
        raise ImportError(
            f"uvloop was asked for and cannot be imported here ({error}); install it with "
            f"`pip install actorsys[uvloop]`, or leave uvloop=True out"
        ) from None
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


def keep_running(
    loop: asyncio.AbstractEventLoop, is_over: Callable[[], bool], on_crash: OnCrash
) -> None:
    """Run *loop* in this thread until *is_over*, whatever its tasks do to it; close it then.

    asyncio lets SystemExit and KeyboardInterrupt of a task, and ``loop.stop()`` of anybody, end the
    loop. Its other tasks shall clean up all the same. Only if the loop itself is broken, such as by
    code that has closed its descriptors, it is given up.
    """
    try:
        while not is_over():
            try:
                loop.run_forever()
            except Exception as error:
                on_crash(error)
                return
            except BaseException as error:
                on_crash(error)
            else:
                if not is_over():
                    on_crash(None)
    finally:
        try:
            loop.close()
        except Exception as error:
            on_crash(error)


async def wind_up() -> None:
    """Cancel every other task of this loop and wait for all of them, then for its threads.

    What they start while they clean up is cancelled as well.
    """
    while leftover := asyncio.all_tasks() - {asyncio.current_task()}:
        for task in leftover:
            task.cancel()
        await asyncio.wait(leftover)
    loop = asyncio.get_running_loop()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()


def describe_leftover(loop: asyncio.AbstractEventLoop, thread: threading.Thread) -> str:
    """Say what *loop*, which runs in *thread*, is still doing; can be asked from any thread."""
    names = sorted(task.get_name() for task in asyncio.all_tasks(loop))
    said = f"tasks left: {', '.join(names) or 'none'}"
    frame = sys._current_frames().get(thread.ident or 0)
    if frame is None:
        return said
    code = frame.f_code
    return f"{said}; it is in {code.co_qualname}, {code.co_filename}:{frame.f_lineno}"
