"""The small job that compares the runs of an array once all of them have ended, however they did."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from pathlib import Path

from entropostat.recipe.machine_blocks import Slurm
from entropostat.slurm.mounts import contained
from entropostat.slurm.render import option

TIME = "00:15:00"
PICTURE, LOG = "compare.png", "compare.log"


def comparison(block: Slurm, name: str, number: str, folder: Path, cwd: Path) -> str:
    """Text for sbatch. ``number`` is the array's, ``folder`` that of its runs, which are called ``<name>-<number>_<task>``."""
    # It runs beside the container, where slurm.python need not be.
    words = [sys.executable if contained(block) else block.python or sys.executable, "-m", "entropostat", "compare"]
    runs = f"{shlex.quote(str(folder / f'{name}-{number}_'))}*"
    command = f"{shlex.join(words)} {runs} --png {shlex.quote(str(folder / PICTURE))}"
    lines = [
        "#!/bin/bash",
        *(f"#SBATCH {option(key, word)}" for key, word in _options(block, name, number, folder, cwd)),
    ]
    return "\n".join([*lines, *block.setup, command]) + "\n"


def _options(block: Slurm, name: str, number: str, folder: Path, cwd: Path) -> Iterator[tuple[str, str]]:
    yield "name", f"--job-name={name}-compare"
    yield "output_dir", f"--output={str(folder / LOG).replace('%', '%%')}"
    yield "", f"--chdir={cwd}"
    yield "", f"--dependency=afterany:{number}"
    yield "", "--kill-on-invalid-dep=yes"
    yield "", "--ntasks=1"
    yield "", f"--time={TIME}"
    for key in ("partition", "account", "qos"):
        if (value := getattr(block, key)) is not None:
            yield f"slurm.{key}", f"--{key}={value}"
