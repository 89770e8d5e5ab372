"""A LoRA adapter and its base become one whole model, which everything opens that has no PEFT."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

from entropostat.atomic import whole_folder
from entropostat.trainers.build.models import load_model
from entropostat.trainers.model import adapter

MERGED = "merged"
ADAPTERS_OWN = ("adapter_", "README.md", "training_args", "optimizer", "scheduler", "rng_state", "trainer_state")
"""How names of files begin that are not those of a whole model."""
OF_THE_RANKS = ("ACCELERATE_", "FSDP_", "RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_", "TORCHELASTIC_")


def merge(run: Path, dtype: str = "auto") -> Path:
    """The folder ``merged`` of ``run``, whose ``final`` holds the adapter. ``dtype``: of the base; auto: as it was saved.

    Whole or not there, and from files alone: how the run was cut over processes is no matter. Raises ValueError for a folder
    without an adapter.
    """
    final = run / "final"
    if adapter.find(final) is None:
        what = "holds a whole model already" if (final / "config.json").is_file() else "holds no adapter"
        raise ValueError(f"{final} {what}; merge takes the folder of a finished run with model.peft")
    # Where one of embedding and head was trained whole, PEFT unties them in the config as well.
    model = load_model(final, dtype=dtype, key=str(final)).merge_and_unload(safe_merge=True)
    with whole_folder(run / MERGED) as folder:
        folder.mkdir(exist_ok=True)
        model.save_pretrained(str(folder))
        for file in sorted(final.iterdir()):
            if file.is_file() and not file.name.startswith(ADAPTERS_OWN):
                shutil.copyfile(file, folder / file.name)
    return run / MERGED


def merge_apart(run: Path, dtype: str) -> str | None:
    """``merge`` in a process of its own, which sees no GPU and no other rank, and whose death takes nothing along. A line if it
    failed.
    """
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(OF_THE_RANKS)}
    words = [sys.executable, "-m", "entropostat", "merge", str(run), "--dtype", dtype]
    done = subprocess.run(
        words,
        env={**inherited, "CUDA_VISIBLE_DEVICES": ""},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if done.returncode == 0:
        return None
    said = " ".join((done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1].split())
    return f"{run / MERGED} was not written: {said}. final/ has the adapter; by hand: entropostat merge {run}"
