"""One cell run again from its stored recipe: is every number the same?"""

from __future__ import annotations

from benchmarks.claims.cell import Cell
from benchmarks.claims.runner import trained
from benchmarks.claims.store import MACHINE, Store, differences, digest, machine
from benchmarks.claims.tasks import TASKS


def again(store: Store, name: str) -> int:
    """Exit status 0: equal; 1: not; 2: there is no such cell. Says in what it differs, and what else does."""
    if name not in store.cells:
        print(f"{name!r}: no such cell in {store.folder}; its names are the first entry of each line of its *.jsonl")
        return 2
    cell, before = Cell.parse(name), store.cells[name]
    now = trained(cell, store.made(before["recipe"]).tree(), TASKS[cell.task])
    unequal = differences(before, now)
    print(f"{name}: {'equal' if not unequal else 'differs in ' + ', '.join(unequal)}")
    if unequal and before[MACHINE] != digest(machine()):
        then, here = store.machines[before[MACHINE]], machine()
        others = [f"{key} {then.get(key)} there, {here[key]} here" for key in here if then.get(key) != here[key]]
        print(f"it was made elsewhere: {'; '.join(others)}")
    return 1 if unequal else 0
