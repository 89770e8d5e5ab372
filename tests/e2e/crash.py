"""kill -9 a small run at random instants, resume it each time, and compare what it ends with: python crash.py FOLDER KILLS SEED.

The parent imports everything and computes nothing; each attempt is a fork of it, so that it costs its training alone. An
attempt is `entropostat train --resume auto`. It dies

- in a *rollout*: at the n-th forward pass of a generation,
- in a *backward* pass: when the gradient of the n-th weight is there,
- while it *save*s a checkpoint: before the n-th file operation of it,
- by the *clock*: at a random moment of its life, set-up and end included, by the parent's hand.

After every second kill that leaves two checkpoints a file of the newest is damaged as well, in one of five ways: the run falls
back to the one before. Where a run finishes it is compared with one that was never killed, and the next run begins.
"""

from __future__ import annotations

import gc
import json
import os
import random
import shutil
import signal
import sys
import threading
import time
import traceback
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from e2e.crashing import CYCLE, KINDS, SAVE_EVERY, STEPS, Child, Kill, train
from e2e.damaging import HARMS, harm
from support import run_files

from entropostat import checkpoints

TIMED = (
    *("health/monitor_ms", "health/step_seconds", "step_time"),
    *("train_runtime", "train_samples_per_second", "train_steps_per_second", "train_loss"),
)
"""Of a process and not of a run. `train_loss` is the mean of the steps since the last start."""


@dataclass
class Attempt:
    """What became of one."""

    plan: Kill | None
    killed: bool
    resumed: int | None
    """Step of the checkpoint that it went on from, 0 for none; None where it died before it had looked."""
    saved: int
    """Newest checkpoint that was complete when it ended."""
    begun: int
    """Last optimizer step that it began."""
    phase: str
    """Where it was at its end."""
    counts: dict[str, int] = field(default_factory=dict)
    """Most events seen in one phase of each kind."""
    seconds: float = 0.0


def attempt(out: Path, plan: Kill | None) -> Attempt:
    """Fork, train with ``--resume auto`` into ``out``, and wait for the end of it."""
    reading, writing = os.pipe()
    log = out.with_suffix(".log").open("ab")
    begun = time.monotonic()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        for stream in (1, 2):
            os.dup2(log.fileno(), stream)
        code = 1
        try:
            code = train(out, Child(writing, plan))
        except BaseException:  # noqa: BLE001  (whatever it is, the parent shows it)
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    os.close(writing)
    log.close()
    killer = None
    if plan and plan.kind == "clock":
        killer = threading.Timer(plan.seconds, os.kill, (pid, signal.SIGKILL))
        killer.start()
    with os.fdopen(reading) as pipe:
        events = [json.loads(line) for line in pipe]
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    if killer is not None:  # before the process is reaped: its number cannot be another's yet
        killer.cancel()
        killer.join()
    _, status = os.waitpid(pid, 0)
    killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    if not killed and status:
        raise RuntimeError(f"an attempt failed: {out.with_suffix('.log').read_text()[-3000:]}")
    return told(events, plan, killed, time.monotonic() - begun)


def told(events: list[dict[str, Any]], plan: Kill | None, killed: bool, seconds: float) -> Attempt:
    """The end of an attempt, from what it said before."""
    resumed = next((e["resumed"] for e in events if "resumed" in e), None)
    result = Attempt(plan, killed, resumed, resumed or 0, resumed or 0, "set-up", seconds=seconds)
    for event in events:
        if kind := event.get("enter"):
            result.phase = kind
            if kind != "save" and event["step"]:
                result.begun = max(result.begun, event["step"])
        elif kind := event.get("leave"):
            result.phase = "between"
            result.counts[kind] = max(result.counts.get(kind, 0), event["events"])
            result.saved = max(result.saved, event.get("saved", 0))
    return result


def draw(rng: random.Random, kind: str, reference: Attempt, saved: int) -> Kill:
    """A random instant of that kind in a run that goes on from step ``saved``; of its life where no other is left."""
    left = {
        "rollout": sum(step > saved for step in range(1, STEPS + 1, CYCLE)),
        "backward": STEPS - saved,
        "save": sum(step > saved for step in (*range(SAVE_EVERY, STEPS, SAVE_EVERY), STEPS)),
    }
    if not left.get(kind):
        return Kill("clock", seconds=rng.uniform(0.0, reference.seconds))
    return Kill(
        kind, rng.randint(1, min(left[kind], 5 if kind == "backward" else 2)), rng.randint(1, reference.counts[kind])
    )


def content(out: Path) -> dict[str, Any]:
    """Everything of a finished run that must not depend on kills."""
    (summary,) = out.glob("run*/summary.json")
    run = summary.parent
    rows = run_files.rows(run)
    last = run / f"checkpoint-{STEPS}"
    state = json.loads((last / "trainer_state.json").read_text())
    kept = {name: state["stateful_callbacks"][name] for name in ("ControlCallback", "AnchorCallback", "StepGovernor")}
    left = [p.name for p in run.iterdir() if p.name.startswith(".") or p.name.startswith("checkpoint-")]
    return {
        "metrics": [{k: v for k, v in row.items() if k not in TIMED} for row in rows],
        "completions": (run / "completions.jsonl").read_text(),
        "histograms": (run / "histograms.jsonl").read_text(),
        "summary": json.loads(summary.read_text()),
        "callbacks": kept,
        "weights": (run / "final" / "model.safetensors").read_bytes(),
        "anchor": (last / "anchor.safetensors").read_bytes(),
        "left": sorted(left),
    }


def crash(folder: Path, kills: int, seed: int) -> dict[str, Any]:
    """Kill until ``kills`` have hit, and finish the last run. Raises AssertionError where something was lost or differs."""
    os.environ["XDG_CACHE_HOME"] = str(folder / "cache")
    gc.collect()
    gc.freeze()  # what is imported need not be looked through in every attempt
    rng = random.Random(seed)
    began = time.monotonic()
    attempt(folder / "first", None)  # builds the model, which is kept
    whole = attempt(folder / "whole", None)
    reference = content(folder / "whole")
    assert content(folder / "first") == reference, "two runs that nobody killed differ"
    assert len(reference["metrics"]) > STEPS // 2 and reference["left"] == ["checkpoint-12", f"checkpoint-{STEPS}"]
    wanted = [KINDS[i % len(KINDS)] for i in range(kills)]
    rng.shuffle(wanted)
    hits: list[dict[str, Any]] = []
    harms: list[str] = []
    runs, repeated, chances = 0, 0, 0
    while wanted:
        out = folder / f"killed-{runs}"
        saved = begun = lost = 0
        while True:
            plan = draw(rng, wanted[-1], whole, saved) if wanted else None
            ended = attempt(out, plan)
            start, again = ended.resumed, 0
            if start is not None:
                assert start >= saved, f"checkpoint-{saved} was complete, and the run went on from {start}"
                assert not lost or start < lost, f"checkpoint-{lost} was damaged, and the run went on from {start}"
                again = max(begun - start, 0)
                assert again <= SAVE_EVERY * (2 if lost else 1), f"{again} steps were run again"
                lost = 0
                saved, begun = ended.saved, ended.begun
            repeated += again
            if not ended.killed:
                break
            wanted.pop()
            hits.append({**asdict(ended), "repeated": again})
            newest = newest_pair(out)
            chances += newest is not None
            if newest is not None and chances % 2:
                harms.append(harm(newest[1], newest[0], HARMS[len(harms) % len(HARMS)], rng))
                saved, lost = checkpoints.step(newest[0]), checkpoints.step(newest[1])
        contents = content(out)
        for key, value in reference.items():
            assert contents[key] == value, f"{key} of run {runs} differs: {first_difference(contents[key], value)}"
        shutil.rmtree(out)
        runs += 1
    return {
        "kills": len(hits),
        "damaged": harms,
        "by_phase": {p: sum(hit["phase"] == p for hit in hits) for p in sorted({hit["phase"] for hit in hits})},
        "resumes": len(hits),
        "runs": runs,
        "steps_repeated": repeated,
        "most_repeated": max(hit["repeated"] for hit in hits),
        "seconds": round(time.monotonic() - began, 1),
        "hits": hits,
    }


def newest_pair(out: Path) -> tuple[Path, Path] | None:
    """The two newest checkpoints of the run, whole ones; None where there is no second to fall back to."""
    kept = [folder for folder in checkpoints.oldest_first(out / "run") if checkpoints.damage(folder) is None]
    return (kept[-2], kept[-1]) if len(kept) > 1 else None


def first_difference(given: Any, wanted: Any) -> str:
    if isinstance(given, list) and isinstance(wanted, list):
        pairs = [(i, a, b) for i, (a, b) in enumerate(zip(given, wanted, strict=False)) if a != b]
        if not pairs:
            return f"{len(given)} rows and not {len(wanted)}"
        index, a, b = pairs[0]
        keys = [k for k in {**a, **b} if a.get(k) != b.get(k)]
        return f"row {index}: {[(k, a.get(k), b.get(k)) for k in keys]}"
    return f"{str(given)[:300]} and not {str(wanted)[:300]}"


if __name__ == "__main__":
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    report = crash(target, int(sys.argv[2]), int(sys.argv[3]))
    gc.unfreeze()
    (target / "report.json").write_text(json.dumps(report, indent=1))
    print(json.dumps({key: value for key, value in report.items() if key != "hits"}))
