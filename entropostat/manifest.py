"""``checkpoint.json``: what a checkpoint consists of, and whether it is still that.

It holds the step, the fingerprint of the recipe, how many processes of which engine wrote the checkpoint, and the size and
XXH3-128 hash of every file; ``seal`` is the hash of the manifest itself. It is written last. So a file that is cut short,
missing, changed in one bit, or that of another step or another run is known before anything is loaded. This finds damage and
mix-ups. It is no signature: who writes a checkpoint can write its manifest.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import xxhash
from pydantic import BaseModel, ConfigDict, ValidationError

MANIFEST = "checkpoint.json"
STATE = "trainer_state.json"
CHUNK = 1 << 20
READERS = 8
"""Threads that read at once: files of a large checkpoint lie on several disks."""
NOT_OURS = (".nfs", ".DS_Store", "._")
"""Begins the names of files that a file system or a desktop leaves in a folder."""


class Damage(ValueError):
    """Why this is no whole checkpoint: one line, which names the file."""


class File(BaseModel):
    """One file as it was saved."""

    model_config = ConfigDict(strict=True, extra="forbid")

    bytes: int
    xxh3_128: str


class Manifest(BaseModel):
    """What is read back. ``seal`` writes it."""

    model_config = ConfigDict(strict=True, extra="forbid")

    seal: str
    step: int
    recipe: str | None = None
    """Fingerprint of the recipe (recipe/resume.py); None for a trainer that was built without one."""
    world_size: int
    engine: str
    start: int = 1
    """How often the run had been started: steps that were run again from an earlier checkpoint come after the first ones."""
    saved: float
    """Seconds since 1970, to be read by people: clocks jump, and nothing goes by it."""
    files: dict[str, File]


def seal(folder: Path, **facts: Any) -> None:
    """Write the manifest of a checkpoint to which nothing will be added."""
    paths = {name: path for name, path in _entries(folder) if path.is_file()}
    hashes = _hashes(list(paths.values()))
    files = {
        name: {"bytes": path.stat().st_size, "xxh3_128": value}
        for (name, path), value in zip(paths.items(), hashes, strict=True)
    }
    record = {"step": step(folder), **facts, "saved": time.time(), "files": files}
    (folder / MANIFEST).write_text(_text(record), encoding="utf-8")


def manifest(folder: Path) -> Manifest:
    """Raises Damage where there is none, or where it is not the one that ``seal`` wrote."""
    file = folder / MANIFEST
    if file.is_symlink():
        raise Damage(f"{MANIFEST} is a symbolic link")
    try:
        text = file.read_text(encoding="utf-8")
        record = json.loads(text)
        sealed = Manifest.model_validate(record)
    except FileNotFoundError:
        raise Damage(f"{MANIFEST} is missing") from None
    except (OSError, ValueError, ValidationError, RecursionError) as error:
        raise Damage(f"{MANIFEST} cannot be read: {_brief(error)}") from None
    record.pop("seal")
    if _text(record) != text:
        raise Damage(f"{MANIFEST} was changed after it was sealed")
    return sealed


def check(folder: Path, deep: bool = True) -> Manifest:
    """The manifest of a whole checkpoint. Raises Damage for any other; without ``deep`` no content is read."""
    if not (folder / STATE).is_file():
        raise Damage(f"{STATE} is missing")
    record = manifest(folder)
    if record.step != step(folder):
        raise Damage(f"{MANIFEST} is that of step {record.step}")
    there = dict(_entries(folder))
    for name in sorted(record.files.keys() | there.keys()):
        _check_outside(name, record.files.get(name), there.get(name))
    if deep:
        names = sorted(record.files)
        try:
            hashes = _hashes([there[name] for name in names])
        except OSError as error:
            raise Damage(f"{error.filename}: {error.strerror}") from None
        for name, hashed in zip(names, hashes, strict=True):
            if hashed != record.files[name].xxh3_128:
                raise Damage(f"the content of {name} is not what was saved")
    return record


def step(folder: Path) -> int:
    return int(folder.name.rpartition("-")[2])


def _check_outside(name: str, saved: File | None, path: Path | None) -> None:
    if path is None:
        raise Damage(f"{name} is missing")
    if path.is_symlink():
        raise Damage(f"{name} is a symbolic link")
    if saved is None:
        raise Damage(f"{name} was not saved with it")
    if not path.is_file():
        raise Damage(f"{name} is no file")
    if (size := path.stat().st_size) != saved.bytes:
        raise Damage(f"{name} has {size} of {saved.bytes} bytes")


def _entries(folder: Path) -> Iterator[tuple[str, Path]]:
    """(name, path) of everything in there but folders and the manifest; what lies behind a symbolic link is not followed."""
    for parent, folders, files in os.walk(folder):
        links = [name for name in folders if Path(parent, name).is_symlink()]
        for name in sorted([*files, *links]):
            path = Path(parent, name)
            if path != folder / MANIFEST and not name.startswith(NOT_OURS):
                yield str(path.relative_to(folder)), path


def _hashes(paths: list[Path]) -> list[str]:
    with ThreadPoolExecutor(READERS) as pool:
        return list(pool.map(_hash, paths))


def _hash(path: Path) -> str:
    state, buffer = xxhash.xxh3_128(), bytearray(CHUNK)
    view = memoryview(buffer)
    with path.open("rb", buffering=0) as stream:
        while count := stream.readinto(buffer):
            state.update(view[:count])
    return state.hexdigest()


def _text(record: dict[str, Any]) -> str:
    """The whole file for a record without its seal. Read back and written again it is the same to the byte."""
    body = json.dumps(record, indent=1)
    return json.dumps({"seal": xxhash.xxh3_128_hexdigest(body.encode()), **record}, indent=1) + "\n"


def _brief(error: Exception) -> str:
    if isinstance(error, ValidationError):
        first = error.errors()[0]
        return f"{'.'.join(map(str, first['loc']))}: {first['msg']}"
    return " ".join(str(getattr(error, "strerror", None) or error).split())[:120]
