"""``entropostat status``: how the jobs of `submit` are doing. Imports no torch."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence

from entropostat.recipe.errors import COMMAND_LINE, Origin, display, fail
from entropostat.slurm.queue import State, last_step, past, queued
from entropostat.visible import visible

HEADER = ("job", "state", "reason", "nodes", "elapsed", "restarts", "exit", "step", "run")


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("job", nargs="?", metavar="JOB", help="default: all that are in the queue")


def run(args: argparse.Namespace) -> int:
    return status(args.job)


def status(job: str | None) -> int:
    if job is not None and not re.fullmatch(r"\d+(_\d+)?", job):
        raise fail(Origin(COMMAND_LINE), "JOB", f"{job!r} is no job; write 123, or 123_4 for one task of an array")
    jobs = queued(job)
    if job is not None and not jobs:
        jobs = past(job)
    if not jobs:
        which = f"no job {job}" if job is not None else "no jobs of `entropostat submit` in the queue"
        print(f"{which}; entropostat status JOB shows one that has ended", file=sys.stderr)
        return 1
    print("\n".join(table([HEADER, *(row(state) for state in jobs)])))
    return 0


def row(state: State) -> tuple[str, ...]:
    """The columns of HEADER; '-' for what is not known."""
    folder = state.run
    step, total = (None, None) if folder is None else last_step(folder)
    progress = "" if step is None else str(step) if total is None else f"{step}/{total}"
    where = "" if folder is None else display(folder)
    known = ["" if text in ("None", "(null)", "None assigned") else text for text in (state.reason, state.nodes)]
    values = (state.job, state.state, *known, state.elapsed, state.restarts, state.exit_code, progress, where)
    return tuple(visible(value) or "-" for value in values)


def table(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(text.ljust(width) for text, width in zip(r, widths, strict=True)).rstrip() for r in rows]
