"""What Slurm knows of a job, and how far its run has come."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entropostat.recipe.errors import SetupError
from entropostat.slurm.render import COMMENT

COLUMNS = {
    "JobArrayID": 64,
    "State": 32,
    "Reason": 64,
    "NodeList": 512,
    "TimeUsed": 32,
    "RestartCnt": 16,
    "exit_code": 16,
    "Comment": 4096,
}
"""squeue's fields and their widths. The comment comes last: it may hold anything, and what follows would be shifted."""

ACCOUNTS = ("JobID", "State", "Reason", "NodeList", "Elapsed", "ExitCode", "Comment")
"""sacct's fields. Not every release counts restarts."""

SEPARATOR = "\x1f"
TAIL = 1 << 16
"""Bytes at the end of metrics.jsonl that hold its last row."""


@dataclass(frozen=True)
class State:
    """A job, or one task of an array."""

    job: str
    state: str
    reason: str
    nodes: str
    elapsed: str
    restarts: str
    """Empty where Slurm does not say."""
    exit_code: str
    """code:signal."""
    comment: str

    @property
    def run(self) -> Path | None:
        """The newest folder of its run, if the job is one of ours and the training has begun."""
        if not self.comment.startswith(COMMENT):
            return None
        wanted = Path(f"{self.comment[len(COMMENT) :]}-{self.job}")
        numbered = re.compile(re.escape(wanted.name) + r"-\d+")
        folders = [wanted] if wanted.is_dir() else []
        if wanted.parent.is_dir():
            folders += [folder for folder in wanted.parent.iterdir() if numbered.fullmatch(folder.name)]
        return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)


def queued(job: str | None) -> list[State]:
    """Jobs in the queue, and for some minutes after their end: ``job`` with all its tasks, or all of the user's.

    Raises SetupError without Slurm.
    """
    fields = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    which = ["--me"] if job is None else [f"--jobs={job}"]
    done = call(["squeue", "--noheader", "--array", "--states=all", f"--Format={fields}", *which])
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SetupError(f"squeue: {' '.join(done.stderr.split())}")
    found = [_columns(line) for line in done.stdout.splitlines() if line.strip()]
    return [State(*values) for values in found if job is not None or values[-1].startswith(COMMENT)]


def past(job: str) -> list[State]:
    """What the accounts say of a job. Raises SetupError where the cluster keeps none."""
    done = call(
        ["sacct", "--allocations", "--noheader", "--parsable2", f"--delimiter={SEPARATOR}",
         f"--format={','.join(ACCOUNTS)}", f"--jobs={job}"]
    )  # fmt: skip
    if done.returncode:
        raise SetupError(f"job {job} is not in the queue, and sacct says: {' '.join(done.stderr.split())}")
    found = []
    for line in filter(None, done.stdout.splitlines()):
        number, state, reason, nodes, elapsed, exit_code, comment = line.split(SEPARATOR, len(ACCOUNTS) - 1)
        found.append(State(number, state, reason, nodes, elapsed, "", exit_code, comment))
    return found


def last_step(run: Path) -> tuple[int | None, int | None]:
    """(last step in metrics.jsonl, steps in all), each None where it is not known."""
    try:
        total = json.loads((run / "run.json").read_text())["steps"]
    except (OSError, ValueError, KeyError):
        total = None
    try:
        with (run / "metrics.jsonl").open("rb") as stream:
            stream.seek(0, 2)
            stream.seek(max(0, stream.tell() - TAIL))
            lines = stream.read().splitlines()
    except OSError:
        return None, total
    for line in reversed(lines):
        try:
            return int(json.loads(line)["step"]), total
        except (ValueError, KeyError, TypeError):  # a line that is being written
            continue
    return None, total


def call(words: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """One of Slurm's commands. Raises SetupError where it is missing or hangs."""
    try:
        return subprocess.run(words, input=text, capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        fix = ", or print the script by --dry-run" if words[0] == "sbatch" else ""
        raise SetupError(f"{words[0]} is not on this machine; use a login node of the cluster{fix}") from None
    except subprocess.TimeoutExpired:
        raise SetupError(f"{words[0]} did not answer for 60 s; is the controller up? (scontrol ping)") from None


def _columns(line: str) -> list[str]:
    values, start = [], 0
    for width in COLUMNS.values():
        values.append(line[start : start + width].strip())
        start += width
    raw = list(COLUMNS).index("exit_code")
    if values[raw].isdigit():  # as wait() gives it
        values[raw] = f"{int(values[raw]) >> 8}:{int(values[raw]) & 127}"
    return values
