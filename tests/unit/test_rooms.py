"""Who may import whom: the table of rooms in docs/architecture.md, held against every import of every module."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import NamedTuple

import pytest

import entropostat

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "architecture.md"
LINKED = ("rl", "trainers", "reward", "slurm")
HEAVY = {
    "torch",
    "triton",
    "trl",
    "transformers",
    "accelerate",
    "deepspeed",
    "peft",
    "vllm",
    "safetensors",
    "tokenizers",
}
"""What 'no torch' forbids: torch, and what brings it along."""
LAZY_CIRCLES: frozenset[frozenset[str]] = frozenset()
"""Folders that import each other, one of them inside a function. None is needed."""


class Import(NamedTuple):
    target: str
    when: str
    """``at once``, ``lazily`` (inside a function) or ``for types``."""
    line: int


@dataclass(frozen=True)
class Room:
    patterns: tuple[str, ...]
    imports: tuple[str, ...]
    everything: bool
    libraries: str

    def holds(self, file: str) -> bool:
        return any(file.startswith(p) if p.endswith("/") else fnmatch(file, p) for p in self.patterns)


def quoted(cell: str) -> tuple[str, ...]:
    """What stands in backticks; ``a/{b,c}.py`` is two of them."""
    paths = []
    for word in re.findall(r"`([^`]+)`", cell):
        head, brace, rest = word.partition("{")
        inner, _, tail = rest.partition("}")
        paths += [head + one + tail for one in inner.split(",")] if brace else [word]
    return tuple(paths)


@cache
def rooms() -> tuple[Room, ...]:
    table = PAGE.read_text().partition("## Rooms")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| (`.*)\|$", table, re.MULTILINE)
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    return tuple(
        Room(quoted(name), quoted(imports), imports.startswith("everything"), libraries)
        for name, _, imports, libraries in cells
    )


def room_of(file: str) -> Room:
    homes = [room for room in rooms() if room.holds(file)]
    assert len(homes) == 1, f"{file} is in {len(homes)} rooms of {PAGE.name}"
    return homes[0]


@cache
def modules() -> Mapping[str, str]:
    """Name -> file, relative to the checkout; the linked folders under the one name that may be imported."""
    files = [f for folder in LINKED for f in (ROOT / folder).rglob("*.py")]
    files += [f for f in (ROOT / "entropostat").glob("*.py")]
    files += [f for d in (ROOT / "entropostat").iterdir() if d.is_dir() and not d.is_symlink() for f in d.rglob("*.py")]
    named = {}
    for file in files:
        relative = file.relative_to(ROOT)
        parts = (
            relative.with_suffix("").parts
            if relative.parts[0] == "entropostat"
            else ("entropostat", *relative.with_suffix("").parts)
        )
        named[".".join(parts).removesuffix(".__init__")] = str(relative)
    return named


def imports(tree: ast.AST, when: str = "at once") -> Iterator[Import]:
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (Import(alias.name, when, node.lineno) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.module is not None and not node.level, "imports here are absolute"
            yield from (Import(f"{node.module}.{alias.name}", when, node.lineno) for alias in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from imports(node, "lazily" if when == "at once" else when)
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from imports(ast.Module(node.body, []), "for types")
            yield from imports(ast.Module(node.orelse, []), when)
        else:
            yield from imports(node, when)


@cache
def imported(module: str) -> tuple[Import, ...]:
    return tuple(imports(ast.parse((ROOT / modules()[module]).read_text())))


def ours(target: str) -> str | None:
    """The module of ours that an import of ``target`` runs: the longest name that is one."""
    target = entropostat._HOMES.get(target.removeprefix("entropostat."), target)
    while target and target not in modules():
        target = target.rpartition(".")[0]
    return target or None


def circles(arrows: Iterable[tuple[str, str]]) -> set[frozenset[str]]:
    """Sets of nodes that reach each other."""
    reach: dict[str, set[str]] = {}
    for a, b in arrows:
        reach.setdefault(a, set()).add(b)
        reach.setdefault(b, set())
    grown = True
    while grown:
        grown = False
        for near in reach.values():
            further = set().union(*(reach[b] for b in near)) if near else set()
            grown |= not further <= near
            near |= further
    return {frozenset(b for b in near if a in reach[b]) for a, near in reach.items() if a in near}


def folder(module: str) -> str:
    """A folder without folders in it is one thing; in any other, each file is one of its own."""
    file = ROOT / modules()[module]
    nested = any(d.is_dir() and d.name != "__pycache__" and any(d.glob("*.py")) for d in file.parent.iterdir())
    return modules()[module] if nested else str(file.parent.relative_to(ROOT))


def arrows(*kinds: str) -> Iterator[tuple[str, str]]:
    for module in modules():
        for target, when, _ in imported(module):
            to = ours(target)
            if to and when in kinds and folder(to) != folder(module):
                yield folder(module), folder(to)


def test_a_module_imports_what_its_room_may() -> None:
    wrong, shelf = [], room_of("entropostat/faults.py")
    for module, file in modules().items():
        room = room_of(file)
        for target, _, line in imported(module):
            if (to := ours(target)) in (None, "entropostat"):
                continue
            there = room_of(modules()[to])
            named = any(there.holds(name) for name in room.imports)
            if there not in (room, shelf) and named is room.everything:
                wrong.append(f"{file}:{line} may not import {modules()[to]}: docs/architecture.md, Rooms")
    assert not wrong


def test_a_module_imports_the_libraries_that_its_room_may() -> None:
    wrong = []
    for module, file in modules().items():
        libraries = room_of(file).libraries
        only = re.match(r"(\w+) only", libraries)
        special = re.search(rf"`{Path(file).name}`: (\w+)", libraries)
        allowed = {"entropostat", *sys.stdlib_module_names, *(match[1] for match in (only, special) if match)}
        for target, _, line in imported(module):
            top = target.partition(".")[0]
            if top in HEAVY if libraries == "no torch" else only and top not in allowed:
                wrong.append(f"{file}:{line} may not import {target}: docs/architecture.md, Rooms")
            if only and target.startswith("torch.distributed"):
                wrong.append(f"{file}:{line}: no process groups here")
    assert not wrong


@pytest.mark.parametrize("room", [r for r in rooms() if r.libraries == "no torch"], ids=lambda room: room.patterns[0])
def test_what_a_room_without_torch_imports_brings_no_torch_along(room: Room) -> None:
    """Followed through all that is imported at once; a package brings its ``__init__`` along."""
    ways = {m: m for m, file in modules().items() if room.holds(file)}
    todo = list(ways)
    while todo:
        module = todo.pop()
        for target, when, _ in imported(module):
            assert when != "at once" or target.partition(".")[0] not in HEAVY, f"{ways[module]} -> {target}"
            parents = target.split(".")
            runs = {ours(".".join(parents[:n])) for n in range(1, len(parents) + 1)} if when == "at once" else set()
            for one in runs - {None} - ways.keys():
                ways[one] = f"{ways[module]} -> {one}"
                todo.append(one)


def test_rooms_may_not_import_each_other_in_a_circle() -> None:
    graph = {
        room.patterns: {r.patterns for r in rooms() if any(n in r.patterns for n in room.imports)} - {room.patterns}
        for room in rooms()
        if not room.everything
    }
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(f"{PAGE.name} allows a circle: {error.args[1]}")


def test_no_folders_import_each_other() -> None:
    assert circles(arrows("at once")) == set()


def test_the_circles_through_lazy_imports_are_those_that_are_listed() -> None:
    assert circles(arrows("at once", "lazily")) == LAZY_CIRCLES


def test_every_room_and_every_name_of_the_table_is_there() -> None:
    names = [name for room in rooms() for name in (*room.patterns, *room.imports)]
    assert [name for name in names if not (ROOT / name).exists()] == []
    assert len(rooms()) > 10
