"""Where results lie: a line a cell; what a method adds to a task, and the task's recipe, once each under their hashes."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.claims.cell import Added, Cell, Made, Tree
from benchmarks.claims.tasks import K
from benchmarks.experiment import RECORDED, Result

FOLDER = RECORDED / "claims"
PACKAGES = ("torch", "transformers", "trl", "accelerate", "numpy")
MACHINE = "machine"
LOOKED = ("pass@1", f"pass@{K}", "distinct", "working", "entropy", "length")
"""Numbers of a look, in the order in which a line has them."""
TUNED = ("status", "why", "reward", "samples", "cpu")
"""What is kept of a tuning run: what a setting is chosen by, and what it cost."""


def digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]


class Store:
    """The results under ``folder``: ``STAGE-TASK.jsonl`` in the order in which cells ended, and what they have in common."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self.cells: dict[str, Result] = {}
        self._seeds: dict[str, dict[int, Result]] = {}
        for file in sorted(folder.glob("*.jsonl")):
            for line in file.read_text().splitlines():
                one = json.loads(line)
                self.put(one.pop("cell"), unpacked(one))
        self.bases: dict[str, Tree] = self._read("bases.json")
        self.recipes: dict[str, dict[str, Any]] = self._read("recipes.json")
        self.machines: dict[str, Any] = self._read("machines.json")

    def _read(self, name: str) -> dict[str, Any]:
        file = self.folder / name
        return json.loads(file.read_text()) if file.is_file() else {}

    def add(self, cell: Cell, recipe: Made, result: Result) -> None:
        here, base = machine(), digest(recipe.base)
        parts = {"base": base, "add": dict(recipe.added.recipe), "words": list(recipe.added.words)}
        if cell.stage == "tune":
            result = {key: value for key, value in result.items() if key in TUNED}
        kept = result | {"recipe": digest(parts), MACHINE: digest(here)}
        self.folder.mkdir(parents=True, exist_ok=True)
        self._keep("bases.json", self.bases, base, recipe.base)
        self._keep("recipes.json", self.recipes, digest(parts), parts)
        self._keep("machines.json", self.machines, digest(here), here)
        with (self.folder / f"{cell.stage}-{cell.task}.jsonl").open("a") as file:
            file.write(json.dumps({"cell": str(cell), **packed(kept)}, separators=(",", ":")) + "\n")
        self.put(str(cell), kept)

    def put(self, name: str, one: Result) -> None:
        """In memory alone."""
        head, _, seed = name.rpartition("|")
        self.cells[name] = self._seeds.setdefault(head, {})[int(seed)] = one

    def made(self, recipe: str) -> Made:
        """Raises KeyError for a hash that no cell here has."""
        parts = self.recipes[recipe]
        return Made(self.bases[parts["base"]], Added(parts["add"], tuple(parts["words"])))

    def _keep(self, name: str, known: dict[str, Any], key: str, value: Any) -> None:
        if key in known:
            return
        known[key] = value
        rows = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, sort_keys=True)}" for k, v in sorted(known.items()))
        (self.folder / name).write_text("{\n" + rows + "\n}\n")

    def of(self, stage: str, task: str, method: str, setting: int = 0) -> dict[int, Result]:
        """Seed -> result."""
        return self._seeds.get("|".join((stage, task, method, str(setting))), {})

    def methods(self, stage: str, task: str) -> Iterator[tuple[str, int]]:
        """(method, setting) of all cells of a stage and a task."""
        for head in self._seeds:
            if head.startswith(f"{stage}|{task}|"):
                _, _, method, setting = head.split("|")
                yield method, int(setting)


def packed(result: Result) -> Result:
    """Looks without their keys, which all of them have in common: a night's results are to be some megabytes."""
    if "looks" not in result:
        return result
    looks = {step: [look[key] for key in LOOKED] for step, look in result["looks"].items()}
    return result | {"looks": looks}


def unpacked(line: Result) -> Result:
    if "looks" not in line:
        return line
    looks = {step: dict(zip(LOOKED, numbers, strict=True)) for step, numbers in line["looks"].items()}
    return line | {"looks": looks}


def machine() -> dict[str, str]:
    """What decides whether a cell run again is equal, beside its recipe: another kind of CPU rounds otherwise."""
    file = Path("/proc/cpuinfo")
    names = (
        [line.partition(":")[2].strip() for line in file.read_text().splitlines() if line.startswith("model name")]
        if file.is_file()
        else []
    )
    packages = {name: version(name) for name in PACKAGES}
    return {"cpu": names[0] if names else platform.processor(), "python": platform.python_version(), **packages}


UNEQUAL = ("cpu", "memory", MACHINE, "recipe")
"""What two runs of one cell need not have in common: times, and what is compared by itself."""


def differences(first: Result, second: Result) -> list[str]:
    """Keys in which two results of one cell differ."""
    keys = sorted((first.keys() | second.keys()) - set(UNEQUAL))
    return [key for key in keys if first.get(key) != second.get(key)]
