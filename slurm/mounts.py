"""What a container has to see of the machine for its job: all that the recipe reads, the run's folder, and the cache of the Hub."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropostat.recipe import Recipe
from entropostat.recipe.adapter import AdapterError, of_model
from entropostat.recipe.errors import real
from entropostat.recipe.lint import Lint
from entropostat.recipe.machine_blocks import Slurm

READERS = ("model", "teacher", "data", "reward", "evaluate")
"""Blocks that name files."""
NAMES = ("path", "folder", "chat_template")
"""Their keys that do."""
MAGIC = "*?["
BIND = {"apptainer": "APPTAINER_BIND", "singularity": "SINGULARITY_BIND"}
"""Launchers that read their mounts from the environment as well, and the variable."""
CONTAINERS = (*BIND, "docker", "podman", "podman-hpc", "enroot", "shifter", "ch-run", "charliecloud", "nerdctl")
"""First words of a launcher whose Python is not this machine's."""


@dataclass(frozen=True)
class Needed:
    """A file or folder, and the key of the recipe that it is read for."""

    key: str
    path: Path

    @property
    def folder(self) -> Path:
        return self.path if self.path.is_dir() or not self.path.exists() else self.path.parent


def contained(block: Slurm) -> bool:
    """Whether the processes see another file system than the machine's."""
    return block.container is not None or starter(block) in CONTAINERS


def starter(block: Slurm) -> str:
    """The program of ``slurm.launcher``; empty without one."""
    return os.path.basename(block.launcher[0]) if block.launcher else ""


def cache() -> Path:
    """Where the Hub's client keeps models and data sets, on the machine that submits."""
    home = os.environ.get("XDG_CACHE_HOME") or os.path.join(os.path.expanduser("~"), ".cache")
    return Path(os.path.expanduser(os.environ.get("HF_HOME") or os.path.join(home, "huggingface"))).absolute()


def needed(recipe: Recipe) -> Iterator[Needed]:
    """All that is on this machine. A name that is no file here is a hub id, or a path that only the image has."""
    yield Needed("output_dir", Path(os.path.abspath(recipe.output_dir)))
    for block in READERS:
        yield from _named(recipe.resolved.get(block), block, recipe.folder)
    for key, weights in (("model.path", recipe.model), ("teacher.path", recipe.teacher)):
        try:
            adapter = of_model(weights)
            base = None if adapter is None else Path(adapter.base)
        except AdapterError:
            base = None  # the recipe's own lints say so
        if base is not None and base.is_dir():
            yield Needed(key, base.absolute())
    if cache().is_dir():
        yield Needed("the cache of the Hub (HF_HOME)", cache())


def mounts(recipe: Recipe, cwd: Path) -> list[str]:
    """``source:target`` of each folder that the working directory and ``slurm.mounts`` do not bring, outermost first; of a link
    also where it leads.
    """
    folders = {way for each in needed(recipe) for way in (each.folder, real(each.folder))}
    missing = {folder for folder in folders if not _inside(folder, [cwd, *_targets(recipe.slurm)])}
    outer = sorted(folder for folder in missing if not _inside(folder, [other for other in missing if other != folder]))
    return [f"{folder}:{folder}" for folder in outer]


def unmountable(recipe: Recipe, cwd: Path) -> Iterator[Lint]:
    """Paths that no line of mounts can hold, and launchers of which it is not known how they mount."""
    block = recipe.slurm
    if not contained(block):
        return
    automatic = block.container is not None or starter(block) in BIND
    for key, folder in [("working directory", cwd), *((each.key, each.folder) for each in needed(recipe))]:
        brought = _targets(block) if key == "working directory" else [cwd, *_targets(block)]
        if _inside(folder, brought):
            continue
        if automatic and {":", ","} & set(f"{folder}{real(folder)}"):
            fix = "move it to a path without both, or mount it under another name by slurm.mounts and use that one"
            yield Lint("error", key, f"{folder} cannot be mounted: a comma or colon ends a mount", fix)
    if not automatic and block.mounts:
        yield Lint(
            "error",
            "slurm.mounts",
            f"{starter(block)} is not told of them",
            "write them into slurm.launcher, as its own options",
        )


def _named(value: Any, key: str, folder: Path) -> Iterator[Needed]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            below = f"{key}.{name}"
            if name in NAMES:
                for text in inner if isinstance(inner, list) else [inner]:
                    if isinstance(text, str) and (found := _found(text, folder)) is not None:
                        yield Needed(below, found)
            yield from _named(inner, below, folder)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from _named(inner, f"{key}.{index}", folder)


def _found(text: str, folder: Path) -> Path | None:
    """The file or folder that a text names, from the working directory or the recipe's; of a pattern what precedes it."""
    parts = Path(os.path.expanduser(text)).parts
    plain = [part for index, part in enumerate(parts) if not any(set(MAGIC) & set(p) for p in parts[: index + 1])]
    if not plain:
        return folder if parts and any(set(MAGIC) & set(p) for p in parts) else None
    for start in (Path.cwd(), folder):
        candidate = start.joinpath(*plain)
        if os.path.exists(candidate):
            return Path(os.path.abspath(candidate))
    return None


def _targets(block: Slurm) -> list[Path]:
    """What ``slurm.mounts`` brings, by its name in the container."""
    return [Path(mount.split(":")[1]) for mount in block.mounts if mount.count(":") and mount.split(":")[1]]


def _inside(path: Path, folders: list[Path]) -> bool:
    return any(path == folder or folder in path.parents for folder in folders)
