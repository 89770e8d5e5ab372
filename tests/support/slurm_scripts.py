"""The text of batch scripts: a job's, a recipe's, and what bash and shellcheck say of it."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from entropostat.recipe.machine_blocks import Slurm
from entropostat.slurm.render import Job, render
from support.commands import said

RECIPE = (
    "extends: entropostat:quickstart/plain.yaml\n"
    "name: tiny\n"
    "data: {sources: {easy: {chain: {length: 3}}}}\n"  # of length 2 there are too few for a generation
    "launch: {strategy: ddp, num_machines: 2}\n"
    "slurm: {nodes: 2, gpus_per_node: 4, python: python3}\n"
)


def dry(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    return said(capsys, ["submit", "recipe.yaml", "--dry-run", *words])


def a_job(**changes: object) -> Job:
    values: dict[str, object] = {
        "name": "tiny",
        "recipe": "seed: 0\n",
        "command": ["python3", "-m", "entropostat", "launch"],
        "output_dir": "/shared/runs",
        "folder": "/shared/runs/slurm",
        "cwd": "/shared",
        "server": [],
        "server_gpus": 0,
        "dependency": None,
        "tasks": [],
    }
    return Job(**{**values, **changes})  # type: ignore[arg-type]


def script(job: Job | None = None, **block: object) -> str:
    return render(Slurm(**block), job or a_job())


def accepted(text: str, severity: str = "style") -> str:
    """The script, after bash and, where there is one, shellcheck have read it."""
    done = subprocess.run(["bash", "-n"], input=text, capture_output=True, text=True, check=False, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    if shutil.which("shellcheck"):
        done = subprocess.run(
            ["shellcheck", "--shell=bash", f"--severity={severity}", "-"],
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout
    return text
