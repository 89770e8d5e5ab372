"""``entropostat launch``: start `train` on several processes by accelerate, with the recipe's strategy."""

from __future__ import annotations

import argparse
import os
import shlex
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from entropostat.cli import arguments
from entropostat.environment import EXPECTED, FAULT_NOTE
from entropostat.gate import runnable
from entropostat.recipe import Recipe
from entropostat.recipe.arithmetic import arithmetic, visible_gpus
from entropostat.recipe.errors import COMMAND_LINE, Origin, display, fail
from entropostat.recipe.extends import RECIPES
from entropostat.secrets import redacted
from entropostat.visible import lines, visible

MACHINES = {"MACHINE_RANK": "--machine_rank", "MASTER_ADDR": "--main_process_ip", "MASTER_PORT": "--main_process_port"}
"""Read from the environment where a run spans machines; a batch system sets them."""


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    arguments.allow_code(parser)
    arguments.resume(parser)
    parser.add_argument("--dry-run", action="store_true", help="print the command and stop")


def run(args: argparse.Namespace) -> int:
    return launch(arguments.one(args), args.overrides, args.allow_code, args.resume, args.dry_run)


def launch(path: str, overrides: list[str], allow_code: bool, resume: str | None, dry_run: bool) -> int:
    recipe = runnable(path, overrides, launched=True)
    gpus = visible_gpus()
    check_gpus(recipe, gpus)
    told = [path, *overrides, *(["--allow-code"] if allow_code else []), *(["--resume", resume] if resume else [])]
    words = command(recipe, told, gpus, os.environ)
    added = environment(recipe, gpus)
    said = " ".join([*(f"{key}={value}" for key, value in added.items()), shlex.join(words)])
    print(visible(redacted(said)), flush=True)
    if dry_run:
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        note = Path(scratch) / "fault"
        code = subprocess.run(words, env={**os.environ, **added, FAULT_NOTE: str(note)}, check=False).returncode
        if code and note.exists():  # the launcher has put a page of its own below the line that says it
            print(lines(note.read_text()), file=sys.stderr)
    return code


def check_gpus(recipe: Recipe, gpus: int) -> None:
    """Raises for more processes than GPUs. Without any GPU processes run on the CPU, as many as one likes."""
    here = -(-arithmetic(recipe).world // recipe.launch.num_machines)
    if 0 < gpus < here:
        message = (
            f"{here} processes on this machine, which has {gpus} GPU{'s' if gpus > 1 else ''} to see; ask for fewer"
        )
        raise fail(Origin(display(recipe.path)), "launch.num_processes", message)


def check_port(port: str) -> None:
    """Raises where another program listens on the port at which the machines are to meet: they would wait for ever.

    On one machine accelerate takes another port by itself.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("", int(port)))
        except (OSError, ValueError, OverflowError) as error:
            where = Origin(COMMAND_LINE)
            raise fail(where, "MASTER_PORT", f"{port} cannot be used ({error}); set another on all machines") from error


def config(recipe: Recipe, gpus: int) -> Path:
    """The strategy's accelerate file. DDP has one of its own for CPUs: accelerate's ``--cpu`` would start one process."""
    strategy = recipe.launch.strategy
    return RECIPES / "accelerate" / f"{strategy}{'-cpu' if strategy == 'ddp' and not gpus else ''}.yaml"


def command(recipe: Recipe, arguments: list[str], gpus: int, env: Mapping[str, str]) -> list[str]:
    launch = recipe.launch
    words = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", display(config(recipe, gpus))]
    words += ["--num_processes", str(arithmetic(recipe).world), "--num_machines", str(launch.num_machines)]
    if launch.num_machines > 1:
        missing = [name for name in MACHINES if name not in env]
        if missing:
            where = Origin(COMMAND_LINE)
            names = ", ".join(missing)
            raise fail(where, "launch.num_machines", f"{launch.num_machines} machines need {names} in the environment")
        if env["MACHINE_RANK"] == "0":
            check_port(env["MASTER_PORT"])
        for name, flag in MACHINES.items():
            words += [flag, env[name]]
    elif "MASTER_PORT" in env:
        # Two jobs on one machine would both take accelerate's default.
        words += ["--main_process_port", env["MASTER_PORT"]]
    return [*words, "-m", "entropostat", "train", *arguments]


def environment(recipe: Recipe, gpus: int) -> dict[str, str]:
    """What the workers need besides the command."""
    added = {EXPECTED: str(arithmetic(recipe).world)}
    if not gpus and recipe.launch.strategy.startswith("zero"):
        added["DS_ACCELERATOR"] = "cpu"
    return added
