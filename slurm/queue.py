"""What Slurm knows of a job, and how far its run has come."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from entropostat.faults import SetupError
from entropostat.readers.facts import facts
from entropostat.readers.lines import parsed
from entropostat.readers.values import whole
from entropostat.regular import opened
from entropostat.slurm.render import COMMENT
from entropostat.visible import visible

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
TAILS = (1 << 16, 1 << 22)
"""Bytes at the end of metrics.jsonl that hold its last row; the second where a row is longer than the first."""


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
        numbered = re.compile(re.escape(wanted.name) + r"(-\d+)?")
        try:
            folders = [
                folder for folder in wanted.parent.iterdir() if numbered.fullmatch(folder.name) and folder.is_dir()
            ]
            return max(folders, key=lambda folder: folder.stat().st_mtime, default=None)
        except (OSError, ValueError):  # not there, of another user, or a comment that is no path
            return None


def queued(job: str | None) -> list[State]:
    """Jobs in the queue, and for some minutes after their end: ``job`` with all its tasks, or all of the user's.

    Raises SetupError without Slurm.
    """
    fields = ",".join(f"{name}:{width}" for name, width in COLUMNS.items())
    which = ["--me"] if job is None else [f"--jobs={job}"]
    done = call(["squeue", "--noheader", "--array", "--states=all", f"--Format={fields}", *which])
    if done.returncode and "Invalid job id" not in done.stderr:
        raise SetupError(visible(f"squeue: {' '.join(done.stderr.split())}"))
    lines = [_columns(line) for line in done.stdout.splitlines() if line.strip()]
    return [State(*values) for values in lines if job is not None or values[-1].startswith(COMMENT)]


def past(job: str) -> list[State]:
    """What the accounts say of a job. Raises SetupError where the cluster keeps none."""
    done = call(
        ["sacct", "--allocations", "--noheader", "--parsable2", f"--delimiter={SEPARATOR}",
         f"--format={','.join(ACCOUNTS)}", f"--jobs={job}"]
    )  # fmt: skip
    if done.returncode:
        said = visible(" ".join(done.stderr.split()))
        raise SetupError(f"job {job} is not in the queue, and sacct says: {said}")
    states = []
    for line in filter(None, done.stdout.splitlines()):
        values = line.split(SEPARATOR, len(ACCOUNTS) - 1)
        if len(values) < len(ACCOUNTS):  # the rest of a comment with a line break
            continue
        number, state, reason, nodes, elapsed, exit_code, comment = values
        states.append(State(number, state, reason, nodes, elapsed, "", exit_code, comment))
    return states


def last_step(run: Path) -> tuple[int | None, int | None]:
    """(last step in metrics.jsonl, steps in all), each None where it is not known."""
    total = facts(run)[0].get("steps")
    try:
        with opened(run / "metrics.jsonl", run) as stream:
            end = stream.seek(0, 2)
            for tail in TAILS:
                stream.seek(max(0, end - tail))
                lines = stream.read(tail).split(b"\n")
                for line in reversed(lines):
                    row, _ = parsed(line)  # none: a line that is being written, or the end of a longer one
                    step = whole(row.get("step")) if row is not None else None
                    if step is not None:
                        return step, total
    except (OSError, ValueError):
        pass
    return None, total


def call(words: Sequence[str], text: str | None = None) -> subprocess.CompletedProcess[str]:
    """One of Slurm's commands. Raises SetupError where it is missing or hangs."""
    try:
        return subprocess.run(
            words, input=text, capture_output=True, encoding="utf-8", errors="replace", check=False, timeout=60
        )
    except FileNotFoundError:
        fix = ", or print the script by --dry-run" if words[0] == "sbatch" else ""
        raise SetupError(f"{words[0]} is not on this machine; use a login node of the cluster{fix}") from None
    except OSError as error:
        raise SetupError(f"{words[0]} cannot be started: {error.strerror}") from None
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
