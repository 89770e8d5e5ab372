"""Worker: save under a strategy, put a program into each file that torch reads, and resume: python forged.py MODEL OUT.

OUT.json says of every file what became of the resume, and whether the program ran.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[1]))

from support import tiny

PICKLED = {".pt", ".pth", ".bin"}


class Program:
    """Leaves ``mark`` when it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.mark}",)


def make(model: str, run: Path, steps: int) -> Any:
    return tiny.ours(model, output_dir=str(run), save_strategy="steps", save_steps=1, max_steps=steps)


def attempts(model: str, run: Path, forms: tuple[bool, ...] = (True, False)) -> dict[str, tuple[str, bool]]:
    """What each file did: (the exception's name, or where the run got to; whether the program ran). ``forms`` of the file:
    torch's archive, or a bare pickle."""
    make(model, run, 1).train()
    checkpoint, mark = run / "checkpoint-1", run / "mark"
    ends = {"": (resumed(model, run), False)}
    for file in sorted(checkpoint.rglob("*")):
        if file.suffix not in PICKLED:
            continue
        whole = file.read_bytes()
        for zipped in forms:
            torch.save({"state": Program(mark)}, file, _use_new_zipfile_serialization=zipped)
            ends[f"{file.relative_to(checkpoint)} {zipped}"] = (resumed(model, run), mark.exists())
            mark.unlink(missing_ok=True)
        file.write_bytes(whole)
    return ends


def resumed(model: str, run: Path) -> str:
    trainer = make(model, run, 2)
    try:
        trainer.train(resume_from_checkpoint=str(run / "checkpoint-1"))
    except Exception as error:  # noqa: BLE001  (its name is the result)
        return type(error).__name__
    return f"step {trainer.state.global_step}"


def alone() -> None:
    """The environment of the only rank of a job, which DeepSpeed wants to see."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    job = {
        "RANK": 0,
        "LOCAL_RANK": 0,
        "WORLD_SIZE": 1,
        "LOCAL_WORLD_SIZE": 1,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    os.environ.update({name: str(value) for name, value in job.items()})


def main() -> None:
    alone()
    out = Path(sys.argv[2])
    out.with_suffix(".json").write_text(json.dumps(attempts(sys.argv[1], out, (True,))))


if __name__ == "__main__":
    main()
