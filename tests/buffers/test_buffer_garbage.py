"""Buffers that are dropped anywhere, any time, in any thread, and at the end of the interpreter."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from buffer_helpers import check_silent, run_tree

pytestmark = pytest.mark.timeout(40)

SCRIPTS = {
    "in cycles": """
    class Node:
        pass

    async def body(portal):
        gc.disable()
        for number in range(20):
            node = Node()
            node.self = node
            node.buffer = await portal.run(remote.make, 1000, 1.0)
            node.array = node.buffer.array()
            node.large = await portal.run(remote.ones, 100_000)
        node = None
        assert remote.statistics()["borrowed"] == 40
        gc.enable()
        await settle()
        assert remote.statistics()["borrowed"] == 0
        assert not remote.shared_fds()
    """,
    "in other threads": """
    import threading

    async def body(portal):
        for number in range(10):
            things = [await portal.run(remote.make, 1000, 1.0) for _ in range(5)]
            things += [thing.array() for thing in things]
            things += [remote.new_buffer() for _ in range(5)]
            box = [things]
            del things
            await trio.to_thread.run_sync(box.clear)
            thread = threading.Thread(target=gc.collect)
            thread.start()
            thread.join()
        await settle()
        found = remote.statistics()
        assert (found["own"], found["borrowed"]) == (0, 0), found
    """,
    "in many threads at once": """
    import threading

    async def body(portal):
        sys.setswitchinterval(1e-6)
        boxes = []
        for _ in range(8):
            buffers = [remote.new_buffer(10) for _ in range(50)]
            boxes.append(buffers + [buffer.array() for buffer in buffers])
        del buffers
        threads = [threading.Thread(target=box.clear) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        await settle()
        assert remote.statistics()["own"] == 0
    """,
    "after the loop has ended": """
    kept = []

    async def body(portal):
        for _ in range(5):
            kept.append(await portal.run(remote.make, 1000, 1.0))
            kept.append(kept[-1].array())
            kept.append(await portal.run(remote.ones, 100_000))
            kept.append(remote.new_buffer())
            kept.append(kept[-1].array())
            kept.append(memoryview(kept[-1]))

    def after():
        assert kept[1].sum() == 1000
        assert kept[2].sum() == 100_000
        kept[1][:] = 2
        kept.clear()
        gc.collect()
        assert not remote.shared_fds(), remote.shared_fds()
        assert not remote.shared_mappings()
    """,
    "after the loop has ended, in many threads": """
    import threading
    boxes = []

    async def body(portal):
        for _ in range(8):
            box = [remote.new_buffer(10) for _ in range(20)]
            boxes.append(box + [buffer.array() for buffer in box for _ in range(10)])

    def after():
        sys.setswitchinterval(1e-6)
        threads = [threading.Thread(target=box.clear) for box in boxes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert not remote.shared_fds(), remote.shared_fds()
    """,
    "at the end of the interpreter": """
    kept = []

    async def body(portal):
        for _ in range(5):
            kept.append(await portal.run(remote.make, 1000, 1.0))
            kept.append(kept[-1].array())
            kept.append(remote.new_buffer())
            kept.append(np.asarray(kept[-1]))
            kept.append(kept[-2].memoryview())
        kept.append(kept)
        sys.kept_for_ever = kept
    """,
    "while an error leaves the loop": """
    kept = []

    async def body(portal):
        kept.append(await portal.run(remote.make, 1000, 1.0))
        kept.append(kept[-1].array())
        async with open_buffer(1000, "f8") as buffer:
            kept.append(buffer.array())
            try:
                async with trio.open_nursery() as tasks:
                    tasks.start_soon(portal.run, remote.wait_with, buffer)
                    await portal.run(remote.fail_with, buffer)
            except* ValueError:
                pass
    """,
    "in a second loop": """
    kept = []

    async def body(portal):
        kept.append(await portal.run(remote.make, 1000, 1.0))
        kept.append(remote.new_buffer())
        kept.append(kept[-1].array())

    def after():
        async def again(portal):
            kept.append(remote.new_buffer())
            del kept[:3]
            await settle()
            assert remote.statistics()["own"] == 1
            del kept[:]
            await settle()
            assert not remote.statistics()["own"]

        trio.run(in_tree, again)
    """,
    "in a process that forks": """
    async def body(portal):
        async with open_buffer(1000, "f8") as buffer:
            array = buffer.array()
            theirs = await portal.run(remote.make, 1000, 1.0)
            pid = os.fork()
            if not pid:
                array[0] = theirs.array()[0] = 7
                os._exit(0)
            os.waitpid(pid, 0)
            assert array[0] == 7
            assert await portal.run(remote.total, theirs) == 1006
            del array, theirs
        await settle()
        assert remote.statistics()["borrowed"] == 0
    """,
}


@pytest.mark.parametrize("where", SCRIPTS)
async def test_nothing_is_said_of_buffers_that_go(where: str, tmp_path: Path) -> None:
    code = (
        SCRIPTS[where]
        + """
    if __name__ == "__main__":
        trio.run(in_tree, body)
        globals().get("after", int)()
        print("done")
    """
    )
    check_silent(await trio.to_thread.run_sync(run_tree, tmp_path, code))
