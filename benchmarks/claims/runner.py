"""Run cells one after the other, each in a child forked from a process that has imported everything once.

A child that dies or hangs costs its cell and nothing else; that it did is the cell's result.
"""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Mapping
from itertools import islice
from multiprocessing.connection import Connection, wait
from typing import Any

from benchmarks.claims.cell import PLAIN, Added, Cell, Made, Tree, made, run
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS, Task
from benchmarks.experiment import Result, preload, quiet

LIMIT = 900.0
"""Seconds until a cell counts as hung: thirty times what one takes on a core of its own."""
Plan = Mapping[Cell, Added]
"""What a method adds to the task's recipe, by cell, in the order in which they are run."""


def complete(store: Store, plan: Plan, jobs: int = 1, until: float = float("inf")) -> int:
    """Run the cells that the store lacks, ``jobs`` at a time; none begins after the time ``until``. How many were run."""
    missing = iter([(cell, added) for cell, added in plan.items() if str(cell) not in store.cells])
    running: dict[Connection, tuple[Cell, Made, Any, float]] = {}
    done = 0
    preload()
    while True:
        for cell, added in islice(missing, jobs - len(running) if time.time() < until else 0):
            recipe = made(TASKS[cell.task], added)
            mine, theirs = multiprocessing.Pipe(duplex=False)
            child = multiprocessing.get_context("fork").Process(target=_child, args=(theirs, cell, recipe))
            child.start()
            theirs.close()
            running[mine] = (cell, recipe, child, time.monotonic() + LIMIT)
        if not running:
            return done
        for end in _ended(running):
            cell, recipe, child, _ = running.pop(end)
            result = _result(end, child)
            store.add(cell, recipe, result)
            done += 1
            print(cell, result.get("why") or _last(result), flush=True)


def _ended(running: Mapping[Connection, tuple[Cell, Made, Any, float]]) -> list[Connection]:
    """Those that have something to say, have died or have been too long about it."""
    soonest = min(deadline for *_, deadline in running.values())
    ready = wait(list(running), timeout=max(0.0, soonest - time.monotonic()))
    late = [end for end, (*_, deadline) in running.items() if time.monotonic() >= deadline]
    return list(dict.fromkeys([*(end for end in running if end in ready), *late]))


def _result(end: Connection, child: Any) -> Result:
    try:
        if not end.poll():
            child.kill()
            return {"status": "failed", "why": f"no end within {LIMIT:.0f} s"}
        result: Result = end.recv()
        return result
    except EOFError:
        child.join()
        return {"status": "failed", "why": f"the process died with exit status {child.exitcode}"}
    finally:
        end.close()
        child.join()


def _child(pipe: Connection, cell: Cell, recipe: Made) -> None:
    with quiet():
        result = trained(cell, recipe.tree(), TASKS[cell.task])
    pipe.send(result)


def trained(cell: Cell, tree: Tree, task: Task) -> Result:
    """What a cell is, whoever runs it."""
    return run(tree, task, cell.seed, cell.stage == "twin", points=cell.method == PLAIN and cell.stage != "tune")


def _last(result: Result) -> str:
    look = list(result["looks"].values())[-1]
    return f"pass@1 {look['pass@1']:.3f}, distinct {look['distinct']:.3f}, entropy {look['entropy']:.3f}"
