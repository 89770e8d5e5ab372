"""The ways in which a disk, a copy or a hand damages a file of a checkpoint."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

HARMS = ("truncate", "zero", "bit", "swap", "delete")


def harm(folder: Path, other: Path, way: str, rng: random.Random) -> str:
    """Damage a random file of ``folder``; ``other`` is a checkpoint whose file may take its place. Says which, and how."""
    files = sorted(f for f in folder.rglob("*") if f.is_file() and f.stat().st_size)
    rng.shuffle(files)
    for file in files:
        if apply(file, other / file.relative_to(folder), way, rng):
            return f"{way} {file.relative_to(folder)}"
    raise AssertionError(f"no file of {folder} can be damaged by {way}")


def apply(file: Path, twin: Path, way: str, rng: random.Random) -> bool:
    """False where the file would stay as it is: one that both checkpoints have alike, or one of zeros."""
    before = file.read_bytes()
    if way == "delete":
        file.unlink()
        return True
    if way == "swap":
        if not twin.is_file():
            return False
        shutil.copyfile(twin, file)
    elif way == "truncate":
        os.truncate(file, rng.randrange(len(before)))
    elif way == "zero":
        file.write_bytes(bytes(len(before)))
    else:
        content = bytearray(before)
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
        file.write_bytes(content)
    return file.read_bytes() != before
