"""Runs a check in a process of its own, for so long at most. Whatever happens to that process, there is a row."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.experiment import ROOT
from benchmarks.smoke.anonymous import anonymous
from benchmarks.smoke.checklist import Check
from benchmarks.smoke.row import Place, Row

TAIL = 15
"""Lines of the log that are shown of a row that failed."""
WORKER = ("-m", "benchmarks.smoke.one")


def environment(device: str) -> dict[str, str]:
    """Nothing is asked of the Hub; on the CPU no run looks for a GPU."""
    offline = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    no_gpu = {"CUDA_VISIBLE_DEVICES": "", "DS_ACCELERATOR": "cpu", "OMP_NUM_THREADS": "1"}
    return {**os.environ, **offline, **(no_gpu if device == "cpu" else {})}


def run(check: Check, device: str, gpus: int, worker: tuple[str, ...] = WORKER) -> Row:
    """``gpus``: those that a run here finds."""
    with tempfile.TemporaryDirectory(prefix="smoke-", ignore_cleanup_errors=True) as folder:
        out, log, scratch = (Path(folder) / name for name in ("row.json", "log", "scratch"))
        scratch.mkdir()
        place = Place("cuda" if device == "cuda" else "cpu", gpus, scratch)
        words = [sys.executable, *worker, check.name, place.device, str(gpus), str(scratch), str(out)]
        begun = time.monotonic()
        with log.open("w") as stream:
            # A session of its own: its id is that of the group, which holds launchers, ranks and servers too.
            started = subprocess.Popen(
                words, cwd=ROOT, env=environment(device), stdin=subprocess.DEVNULL, stdout=stream, stderr=stream,
                start_new_session=True,
            )  # fmt: skip
            code: int | None = None
            try:
                code = started.wait(check.limit)
            except subprocess.TimeoutExpired:
                pass
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(started.pid, signal.SIGKILL)
                started.wait()
        seconds = time.monotonic() - begun
        tail = anonymous("\n".join(log.read_text(errors="replace").splitlines()[-TAIL:]))
        return judged(check, code, out, seconds, tail)


def judged(check: Check, code: int | None, out: Path, seconds: float, tail: str) -> Row:
    """The row that the process wrote, or what became of it. ``code`` is None where it was killed for being late."""
    if code == 0 and out.is_file():
        row = json.loads(out.read_text())
        kept = tail if row["status"] == "fail" else ""
        return Row(**{**row, "seconds": seconds, "tail": kept})
    if code is None:
        why = f"not done after {check.limit:g} s, and killed"
    elif code < 0:
        killed = signal.Signals(-code).name
        why = f"killed by {killed}" + (": main memory may have run out" if killed == "SIGKILL" else "")
    else:
        last = tail.splitlines()[-1] if tail else "and said nothing"
        why = f"ended with {code}: {last}"
    return Row(check.name, check.title, "fail", why, seconds, tail=tail)
