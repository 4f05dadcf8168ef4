"""An actor starts, or says at once why not; whatever way the program itself was started."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import psutil
import pytest
import start_functions as remote
import trio
from tree_helpers import Ended, is_running, open_worker, program_running, run_script

import actorsys

pytestmark = pytest.mark.timeout(20)
MODULE = "start_functions"

WITH_GUARD = """
import sys
import trio
import actorsys

async def double(n):
    return 2 * n

class Odd(Exception):
    pass

async def raise_odd():
    raise Odd("very")

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("worker", modules=[__name__], types=[Odd])
        print(await portal.run(double, 21), flush=True)
        try:
            await portal.run(raise_odd)
        except Odd as error:
            print("Odd", error)
        await portal.cancel_actor()

if __name__ == "__main__":
    trio.run(main)
"""


async def start_failure(module: str) -> actorsys.SpawnError:
    """Return the error of starting an actor that offers *module*, which comes within a second."""
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(actorsys.SpawnError) as caught, trio.fail_after(3):
            await nursery.start_actor("failing", modules=[module])
        assert nursery.children == {}
    return caught.value


# --- scripts ------------------------------------------------------------------------------


def test_a_script_offers_its_own_functions(tmp_path: Path) -> None:
    ended = run_script(tmp_path, WITH_GUARD)
    assert (ended.status, ended.stderr) == (0, "")
    assert ended.stdout.splitlines() == ["42", "Odd very"]


def test_a_script_without_a_main_guard_is_one_clear_error_and_no_fork_bomb(
    tmp_path: Path,
) -> None:
    code = WITH_GUARD.replace('if __name__ == "__main__":\n    trio.run(main)', "trio.run(main)")
    code = code.replace("import sys\n", "import os\nprint('ran', os.getpid(), flush=True)\n")
    began = time.monotonic()
    ended = run_script(tmp_path, code)
    assert time.monotonic() - began < 3
    assert ended.status == 1
    assert len(ended.stdout.splitlines()) <= 2, "the script has run more than twice"
    assert "__main__" in ended.stderr
    assert "SpawnError" in ended.stderr.splitlines()[-1] or "guard" in ended.stderr
    assert ended.stderr.count("under `if __name__ == '__main__':`") == 1


def test_a_module_that_starts_actors_at_import_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "eager.py").write_text(
        "import trio, actorsys\n"
        "async def main():\n"
        "    async with actorsys.open_nursery() as nursery:\n"
        "        await nursery.start_actor('again', modules=['eager'])\n"
        "trio.run(main)\n"
    )
    code = (
        "import trio, actorsys\n"
        "async def main():\n"
        "    async with actorsys.open_nursery() as nursery:\n"
        "        await nursery.start_actor('first', modules=['eager'])\n"
        "if __name__ == '__main__':\n"
        "    trio.run(main)\n"
    )
    ended = run_script(tmp_path, code)
    assert ended.status == 1
    assert "while it is imported" in ended.stderr


def test_a_module_run_with_dash_m_may_use_relative_imports(tmp_path: Path) -> None:
    package = tmp_path / "application"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "numbers.py").write_text("FACTOR = 2\n")
    code = "from .numbers import FACTOR\n" + WITH_GUARD.replace("2 * n", "FACTOR * n")
    (package / "tool.py").write_text(code)
    with program_running([sys.executable, "-m", "application.tool"], tmp_path) as process:
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines() == ["42", "Odd very"]


def test_a_package_run_with_dash_m_works_as_well(tmp_path: Path) -> None:
    package = tmp_path / "application"
    package.mkdir()
    (package / "__init__.py").write_text("FACTOR = 2\n")
    code = "from . import FACTOR\n" + WITH_GUARD.replace("2 * n", "FACTOR * n")
    (package / "__main__.py").write_text(code)
    with program_running([sys.executable, "-m", "application"], tmp_path) as process:
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr) == (0, "")
    assert stdout.splitlines() == ["42", "Odd very"]


@pytest.mark.parametrize("way", ["-c", "stdin"])
def test_code_without_a_file_says_why_it_cannot_run_elsewhere(tmp_path: Path, way: str) -> None:
    arguments = ["-c", WITH_GUARD] if way == "-c" else ["-"]
    with program_running([sys.executable, *arguments], tmp_path) as process:
        source = None if way == "-c" else WITH_GUARD
        stdout, stderr = process.communicate(source, timeout=10)
    ended = Ended(process.returncode, stdout, stderr)
    assert ended.status == 1
    assert ended.stdout == ""
    assert "SpawnError" in ended.stderr
    assert "file" in ended.stderr


def test_code_without_a_file_can_use_the_functions_of_modules(tmp_path: Path) -> None:
    (tmp_path / "library.py").write_text("async def double(n):\n    return 2 * n\n")
    code = (
        "import trio, actorsys, library\n"
        "async def main():\n"
        "    async with actorsys.open_nursery() as nursery:\n"
        "        portal = await nursery.run_in_actor(library.double, 21)\n"
        "        print(await portal.result())\n"
        "trio.run(main)\n"
    )
    with program_running([sys.executable, "-c", code], tmp_path) as process:
        stdout, stderr = process.communicate(timeout=10)
    assert (process.returncode, stderr, stdout) == (0, "", "42\n")


def test_a_child_sees_the_scripts_argv_and_path(tmp_path: Path) -> None:
    code = """
import sys
sys.path.append("/added/at/run/time")
import trio
import actorsys

async def look():
    return [ascii(text) for text in sys.argv], "/added/at/run/time" in sys.path

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(look)
        assert await portal.result() == (list(map(ascii, sys.argv)), True)
        print(len(sys.argv))

if __name__ == "__main__":
    trio.run(main)
"""
    ended = run_script(tmp_path, code, "--flag", "wörd \udcff")
    assert (ended.status, ended.stderr, ended.stdout) == (0, "", "3\n")


def test_what_a_child_prints_reaches_the_terminal(tmp_path: Path) -> None:
    code = """
import sys
import trio
import actorsys

async def talk():
    print("to stdout", flush=True)
    print("to stderr", file=sys.stderr)

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.run_in_actor(talk)
        await portal.result()

if __name__ == "__main__":
    trio.run(main)
"""
    ended = run_script(tmp_path, code)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "to stdout\n", "to stderr\n")


# --- children that never become actors ----------------------------------------------------


async def test_a_module_that_does_not_import_is_an_error_with_its_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_module.py").write_text("def helper():\n    1 / 0\n\nhelper()\n")
    monkeypatch.syspath_prepend(tmp_path)
    error = await start_failure("broken_module")
    assert error.exit_code not in (0, None)
    assert error.signal is None
    assert "ZeroDivisionError" in error.stderr_tail
    assert "in helper" in error.stderr_tail
    assert "ZeroDivisionError" in str(error)
    assert "failing" in str(error)


async def test_a_module_that_does_not_exist_or_compile_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "no_python.py").write_text("this is no python\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert "SyntaxError" in (await start_failure("no_python")).stderr_tail
    assert "no_such_module" in (await start_failure("no_such_module")).stderr_tail


@pytest.mark.parametrize(
    ("line", "exit_code", "number"),
    [
        ("import os; os._exit(7)", 7, None),
        ("import sys; sys.exit(0)", None, None),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", None, signal.SIGKILL),
    ],
)
async def test_a_child_that_dies_at_import_is_told_within_a_second(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    line: str,
    exit_code: int | None,
    number: int | None,
) -> None:
    source = f"import sys\nprint('importing', file=sys.stderr, flush=True)\n{line}\n"
    (tmp_path / "dying_module.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    began = trio.current_time()
    error = await start_failure("dying_module")
    assert trio.current_time() - began < 1.5
    assert error.signal == number
    if exit_code is not None:
        assert error.exit_code == exit_code
    assert "importing" in error.stderr_tail


async def test_a_failed_start_leaves_the_nursery_usable_and_says_nothing_but_its_error(
    capfd: pytest.CaptureFixture[str],
) -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(actorsys.SpawnError):
            await nursery.start_actor("failing", modules=["no_such_module"])
        assert capfd.readouterr().err == ""
        portal = await nursery.start_actor("working", modules=[MODULE])
        assert await portal.run(remote.add, 1, 1) == 2
        await nursery.cancel()


async def test_a_start_nobody_waits_for_any_more_leaves_no_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "endless_import.py").write_text("import time\ntime.sleep(60)\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with actorsys.open_nursery() as nursery:
        with trio.move_on_after(0.3) as scope:
            await nursery.start_actor("endless", modules=["endless_import"])
        assert scope.cancelled_caught
        assert psutil.Process().children() == []


LEAVE_WHILE_STARTING = """
import trio
import actorsys

async def main(cancels):
    async with trio.open_nursery() as tasks:
        started = trio.Event()

        async def start():
            started.set()
            try:
                await nursery.start_actor("late")
            except (RuntimeError, actorsys.ActorsysError):
                print("not started")

        try:
            async with actorsys.open_nursery() as nursery:
                tasks.start_soon(start)
                await started.wait()
                await trio.sleep(0.01)
                if cancels:
                    tasks.cancel_scope.cancel()
                raise KeyError("of the body")
        except KeyError:
            print("left")

if __name__ == "__main__":
    trio.run(main, CANCELS)
"""


@pytest.mark.parametrize("cancels", [True, False])
def test_a_nursery_that_is_left_while_an_actor_starts_takes_it_along(
    tmp_path: Path, cancels: bool
) -> None:
    code = LEAVE_WHILE_STARTING.replace("CANCELS", str(cancels))
    ended = run_script(tmp_path, code, timeout=4)
    assert (ended.status, ended.stderr) == (0, "")
    expected = {"left"} if cancels else {"left", "not started"}
    assert set(ended.stdout.splitlines()) == expected


# --- options ------------------------------------------------------------------------------


async def test_starts_run_at_the_same_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "slow_import.py").write_text("import time\ntime.sleep(0.4)\n")
    monkeypatch.syspath_prepend(tmp_path)
    async with actorsys.open_nursery() as nursery:
        began = trio.current_time()
        async with trio.open_nursery() as tasks:
            for i in range(3):
                tasks.start_soon(lambda i=i: nursery.start_actor(f"{i}", modules=["slow_import"]))
        assert trio.current_time() - began < 1.5
        assert sorted(nursery.children) == ["0", "1", "2"]
        await nursery.cancel()


async def test_env_is_added_to_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACTORSYS_TEST_KEPT", "kept")
    async with open_worker(MODULE, env={"ACTORSYS_TEST_ADDED": "added"}) as portal:
        assert await portal.run(remote.environment, "ACTORSYS_TEST_ADDED") == "added"
        assert await portal.run(remote.environment, "ACTORSYS_TEST_KEPT") == "kept"
    assert "ACTORSYS_TEST_ADDED" not in os.environ


async def test_types_are_registered_on_both_sides() -> None:
    async with open_worker(MODULE, types=[remote.Item, remote.Odd]) as portal:
        assert await portal.run(remote.echo, remote.Item(3)) == remote.Item(3)
        with pytest.raises(remote.Odd):
            await portal.run(remote.raise_odd)


async def test_types_that_no_other_process_finds_are_refused() -> None:
    class Local:
        pass

    async with actorsys.open_nursery() as nursery:
        with pytest.raises(TypeError):
            await nursery.start_actor("refused", types=[Local])
        assert nursery.children == {}


async def test_modules_may_be_given_as_themselves() -> None:
    async with open_worker(remote) as portal:  # type: ignore[arg-type]
        assert await portal.run(remote.add, 1, 1) == 2


async def test_modules_that_are_one_string_are_refused() -> None:
    async with actorsys.open_nursery() as nursery:
        with pytest.raises(TypeError, match="list"):
            await nursery.start_actor("refused", modules=MODULE)


async def test_a_name_that_makes_no_sense_is_refused() -> None:
    async with actorsys.open_nursery() as nursery:
        for name in ("", "x" * 65, "ü" * 33, "new\nline", "\x1b[31m", "nul\0"):
            with pytest.raises(ValueError, match="name"):
                await nursery.start_actor(name)
        assert psutil.Process().children() == []


async def test_any_printable_name_will_do() -> None:
    names = ["x" * 64, "ünïcödé with blanks", "-c", "'quoted' $HOME"]
    async with actorsys.open_nursery() as nursery:
        async with trio.open_nursery() as tasks:
            for name in names:
                tasks.start_soon(nursery.start_actor, name)
        assert sorted(nursery.children) == sorted(names)
        assert {portal.name for portal in nursery.children.values()} == set(names)
        await nursery.cancel()


async def test_a_child_is_like_its_parent() -> None:
    async with open_worker(MODULE) as portal:
        there = await portal.run(remote.paths)
    assert there["argv"] == sys.argv
    assert there["path"] == sys.path
    assert there["cwd"] == os.getcwd()
    assert there["executable"] == sys.executable


def test_interpreter_flags_are_inherited(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(WITH_GUARD.replace("return 2 * n", "return __debug__"))
    command = [sys.executable, "-O", str(tmp_path / "script.py")]
    with program_running(command, tmp_path) as process:
        stdout, _ = process.communicate(timeout=10)
    assert stdout.splitlines()[0] == "False"


async def test_a_child_inherits_nothing_but_its_standard_streams_and_its_lifeline(
    tmp_path: Path,
) -> None:
    read_fd, write_fd = os.pipe()
    os.set_inheritable(read_fd, True)
    secret = tmp_path / "secret"
    secret.write_text("secret")
    try:
        with secret.open() as file:
            os.set_inheritable(file.fileno(), True)
            async with open_worker() as first, open_worker(MODULE) as portal:
                assert first.is_alive
                found = await portal.run(remote.open_descriptors)
                assert await portal.run(remote.read_stdin) == b""
    finally:
        os.close(read_fd)
        os.close(write_fd)
    pipes = [target for fd, target in found.items() if fd > 2 and target.startswith("pipe:")]
    sockets = [target for target in found.values() if target.startswith("socket:")]
    files = [target for target in found.values() if str(tmp_path) in target]
    assert len(pipes) == 1
    assert len(sockets) <= 5, found  # the link, and what trio wakes itself with
    assert files == []
    assert found[0] == "/dev/null"


async def test_a_key_is_neither_in_argv_nor_in_the_environment() -> None:
    async with actorsys.open_nursery() as nursery:
        one = await nursery.start_actor("same", modules=[MODULE])
        two = await nursery.start_actor("same", modules=[MODULE])
        seen = []
        for portal in (one, two):
            process = psutil.Process(portal.pid)
            seen.append((process.cmdline(), process.environ()))
            unique = portal.uid[1]
            assert not any(unique in argument for argument in process.cmdline())
            environment = {k: v for k, v in process.environ().items() if os.environ.get(k) != v}
            assert environment.keys() <= {"LC_CTYPE", "LINES", "COLUMNS"}
        assert [part for part in seen[0][0] if len(part) > 200 and part.isalnum()] == []
        different = set(seen[0][0]) ^ set(seen[1][0])
        assert all(len(part) < 600 for part in different)
        await nursery.cancel()


async def test_what_an_actor_started_does_not_hold_up_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "leaving.py").write_text(
        "import subprocess, sys\n"
        "async def leave_a_process():\n"
        "    return subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']).pid\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("leaving", modules=["leaving"])
        left_behind = await portal.run("leaving:leave_a_process")
        with trio.fail_after(2):
            await portal.cancel_actor()
        assert is_running(left_behind)
        os.kill(left_behind, signal.SIGKILL)


OUTLIVED_SCRIPT = """
import threading
import trio
import actorsys

def double(number):
    return 2 * number

async def main():
    async with actorsys.open_nursery() as nursery:
        portal = await nursery.start_actor("late", modules=[__name__])
        print(await portal.run(double, 21))
        await portal.cancel_actor()

def outlive():
    threading.main_thread().join()
    trio.run(main)

if __name__ == "__main__":
    threading.Thread(target=outlive).start()
"""


def test_a_thread_that_outlives_its_script_can_start_actors_of_it(tmp_path: Path) -> None:
    ended = run_script(tmp_path, OUTLIVED_SCRIPT)
    assert (ended.status, ended.stdout, ended.stderr) == (0, "42\n", "")
