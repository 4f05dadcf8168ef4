"""A program that is the root of a tree of actors; its plan is the first argument, as JSON.

It stops the tree in good order when its stdin ends. Its nursery is open in the main task, where
trio raises KeyboardInterrupt, or in a task beside it, as the plan says.
"""

from __future__ import annotations

import json
import sys

import trio

from scripts.rings.programs.members import Plan, keep_subtree, say


async def main(plan: Plan) -> None:
    """Keep the tree until stdin ends."""
    async with trio.open_nursery() as tasks:

        async def keep_tree() -> None:
            await keep_subtree(plan, "r", tell)

        async def wait_for_end_of_stdin() -> None:
            await trio.lowlevel.FdStream(0).receive_some()
            tasks.cancel_scope.cancel()

        in_task, in_main_task = keep_tree, wait_for_end_of_stdin
        if not plan["is_root_in_task"]:
            in_task, in_main_task = in_main_task, in_task
        tasks.start_soon(in_task)
        await in_main_task()


async def tell(pids: dict[str, int]) -> None:
    """Say that the tree is up."""
    say("ready", json.dumps(pids))


if __name__ == "__main__":
    trio.run(main, json.loads(sys.argv[1]))
