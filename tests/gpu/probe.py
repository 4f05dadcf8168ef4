"""Print, as JSON, what the GPU here and its driver do; each fact in a process of its own.

Run as a script. What CUDA leaves undefined is not tried.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
from collections.abc import Callable
from typing import Any

TIMEOUT_SECONDS = 20
SIZE = 2 * 1024 * 1024


def versions() -> dict[str, Any]:
    import cupy

    runtime = cupy.cuda.runtime
    properties = runtime.getDeviceProperties(0)
    free, total = runtime.memGetInfo()
    return {
        "cupy": cupy.__version__,
        "runtime": runtime.runtimeGetVersion(),
        "driver": runtime.driverGetVersion(),
        "devices": runtime.getDeviceCount(),
        "name": properties["name"].decode(),
        "uuid_bytes": len(properties["uuid"]),
        "uuid": properties["uuid"].hex(),
        "free": free,
        "total": total,
    }


def place() -> dict[str, Any]:
    return {
        "kernel": platform.release(),
        "pid_namespace": os.readlink("/proc/self/ns/pid"),
        "container": os.path.exists("/.dockerenv"),
    }


def own_handle() -> str:
    """Return what CUDA says to opening one's own memory."""
    import cupy

    runtime = cupy.cuda.runtime
    handle = runtime.ipcGetMemHandle(runtime.malloc(SIZE))
    try:
        runtime.ipcOpenMemHandle(handle)
    except runtime.CUDARuntimeError as error:
        return str(error)
    return "opened"


def small_handles() -> dict[str, bool]:
    """Tell whether two small allocations share a piece, and a handle."""
    import cupy

    runtime = cupy.cuda.runtime
    first, second = runtime.malloc(512), runtime.malloc(512)
    return {
        "in_one_piece": abs(first - second) < SIZE,
        "same_handle": runtime.ipcGetMemHandle(first) == runtime.ipcGetMemHandle(second),
    }


def pool_handle() -> str:
    """Return what CUDA says to exporting memory of an asynchronous pool."""
    import cupy

    runtime = cupy.cuda.runtime
    try:
        runtime.ipcGetMemHandle(runtime.mallocAsync(SIZE, 0))
    except runtime.CUDARuntimeError as error:
        return str(error)
    return "exported"


OPENER = """
import sys, time, cupy
runtime = cupy.cuda.runtime
cupy.cuda.Device(0).use()
runtime.free(0)
handle = bytes.fromhex(sys.stdin.readline())
begin = time.perf_counter()
first = runtime.ipcOpenMemHandle(handle)
seconds = time.perf_counter() - begin
try:
    twice = "same pointer" if runtime.ipcOpenMemHandle(handle) == first else "another pointer"
except runtime.CUDARuntimeError as error:
    twice = str(error)
print([round(seconds * 1000, 3), twice])
"""


def two_processes() -> dict[str, Any]:
    """Return how long it takes another process to map a slab, and what it gets at a second try."""
    import cupy

    runtime = cupy.cuda.runtime
    handle = runtime.ipcGetMemHandle(runtime.malloc(32 * SIZE))
    ended = subprocess.run(
        [sys.executable, "-c", OPENER],
        input=handle.hex(),
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    if ended.returncode:
        return {"error": ended.stderr.strip().rpartition("\n")[2]}
    milliseconds, twice = json.loads(ended.stdout.replace("'", '"'))
    return {"map_milliseconds": milliseconds, "opened_twice": twice}


PROBES: dict[str, Callable[[], Any]] = {
    function.__name__: function
    for function in (versions, place, own_handle, small_handles, pool_handle, two_processes)
}


def run_probe(name: str) -> Any:
    """Return what a probe finds, or how it has failed."""
    try:
        ended = subprocess.run(
            [sys.executable, __file__, name],
            capture_output=True,
            text=True,
            timeout=TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return {"error": "it takes too long"}
    if ended.returncode:
        return {"error": ended.stderr.strip().rpartition("\n")[2]}
    return json.loads(ended.stdout)


def main() -> None:
    if len(sys.argv) > 1:
        print(json.dumps(PROBES[sys.argv[1]]()))
    else:
        print(json.dumps({name: run_probe(name) for name in PROBES}, indent=1))


if __name__ == "__main__":
    main()
