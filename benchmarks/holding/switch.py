"""The curriculum switch under entropy control: easy prompts, then hard ones, on fresh seeds of pre-training and RL.

    python -m benchmarks.holding.switch --jobs 2          resumes; writes results/holding/switch.{json,md}

After the easy phase the policy blurts answers, and its working on hard prompts is damaged. What brings it back? Rows are settings
fixed before the first reported run. No target is constant in nats over the switch: entropy controls hold ``entropy_ratio``,
the policy's entropy over the initial policy's on the same tokens, or follow a schedule of it.

    hard pass@1     after both phases, 96 held-out prompts x 16 samples
    share           of sampled working at the switch, on hard prompts
    forced          accuracy at the switch where the prompt forces the working to be shown
    gap             that, less the accuracy where it forces the bare answer: what showing the work would pay
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping
from functools import partial
from typing import Any

from benchmarks.experiment import RECORDED, ROOT, Job, Result, command, experiment
from benchmarks.holding.loops import GAINS

RESULTS = RECORDED / "holding" / "switch.json"
SEEDS = tuple(range(20, 30))
EASY, LONG, HARD = 120, 400, 200
FEW = SEEDS[:3]
"""For the rows that only explain: those of the factorial, the long easy phase, and the other actuators."""
MAIN = (
    "plain GRPO",
    "anchor in both phases",
    "anchor by PID",
    "autopilot, entropy actuators only",
    "autopilot and anchor by PID",
    "autopilot with its default gains, and anchor by PID",
    "autopilot that only lifts, and anchor by PID",
)
LIFTS = MAIN[-1]
CONFIRMED = tuple(range(60, 70))
"""For that row: that it should only lift was concluded from runs on seeds 5, 6, 8 and 29."""
PASSED = 0.8
"""Hard pass@1 from which a run counts as rescued; .75 is reported beside it."""

PID = {
    "signal": "kl",
    "target": 0.15,
    "effect": "lowers",
    "space": "log",
    "start": 0.3,
    "low": 0.1,
    "high": 1.0,
    "kp": 1.0,
    "ki": 0.02,
    "smoothing": 0.5,
}
ANCHOR = {"kl_ref": {"coef": {"pid": PID}}}
MEASURE = {"kl_ref": {"coef": 0.0}}
"""A reference that has no effect: entropy_ratio needs one."""


def ratio(easy: int, letting_go: int = 40) -> dict[str, Any]:
    """Entropy over the reference's: kept at two thirds in the easy phase, let go within so many steps of the hard one."""
    return {"schedule": {"points": [[0, 1.0], [20, 0.67], [easy, 0.67], [easy + letting_go, 0.15]]}}


WIDE = {"gain_min": -1.5, "gain_max": 1.5, "bonus_high": 0.1}
"""Bounds of the autopilot as the exact plant gave them, with the target let go over the whole hard phase. One run of them on
seed 20, and three with a quicker letting go on seeds 5, 6 and 8, showed that they keep the policy from learning. The bounds of
the other rows, and the quicker letting go, were then chosen on seeds 5, 6 and 8 (six runs), before any other reported run."""


def autopilot(target: Any, gains: dict[str, float] = GAINS, **options: Any) -> dict[str, Any]:
    loop = {"autopilot": {"signal": "entropy_ratio", "target": target, "patience": 20, **gains, **options}}
    return {"weights": [{"entropy_tilt": {"gain": loop}}]}


REST = {"entropy_bonus": {"coef": {"follow": {"knob": "weights.entropy_tilt.gain", "key": "rest"}}}}


def kl(coef: Any) -> dict[str, Any]:
    return {"penalties": [{"kl_ref": {"coef": coef}}]}


def rows(easy: int) -> dict[str, dict[str, Any]]:
    """Row -> what its objective adds to plain GRPO."""
    switch = lambda first, second: {"schedule": {"points": [[0, first], [easy, second]], "shape": "hold"}}
    loop = {"signal": "entropy_ratio", "target": ratio(easy), "effect": "raises", "smoothing": 0.5}
    limits = {"kp": 0.01, "ki": 0.002, "low": -0.01, "high": 0.05}
    factorial = {
        "plain GRPO": {},
        "anchor in both phases": kl(0.3),
        "anchor in the easy phase": kl(switch(0.3, 0.0)),
        "anchor in the hard phase": kl(switch(0.0, 0.3)),
    }
    if easy == LONG:
        return factorial
    return {
        **factorial,
        "anchor by PID": {"penalties": [ANCHOR]},
        "moving anchor, decay .99": {"penalties": [{"kl_ref": {"coef": 0.3, "reference": "ema", "decay": 0.99}}]},
        "bonus by PI": {"penalties": [MEASURE, {"entropy_bonus": {"coef": {"pid": loop | limits}}}]},
        "autopilot, entropy actuators only": autopilot(ratio(easy)) | {"penalties": [MEASURE, REST]},
        "autopilot and anchor by PID": autopilot(ratio(easy)) | {"penalties": [ANCHOR, REST]},
        "autopilot with its default gains, and anchor by PID": autopilot(ratio(easy), {})
        | {"penalties": [ANCHOR, REST]},
        LIFTS: autopilot(ratio(easy), {}, gain_min=0.0, bonus_low=0.0) | {"penalties": [ANCHOR, REST]},
        "autopilot, wide bounds": autopilot(ratio(easy, HARD), **WIDE) | {"penalties": [MEASURE, REST]},
        "autopilot, wide bounds, and anchor by PID": autopilot(ratio(easy, HARD), **WIDE)
        | {"penalties": [ANCHOR, REST]},
    }


def measure(row: str, easy: int, seed: int) -> Result:
    from transformers import TrainerCallback

    overrides = [f"seed={seed}", f"data.curriculum=[{{source: easy, steps: {easy}}}, {{source: hard, steps: {HARD}}}]"]
    overrides += ["evaluate={every: 0, greedy: false, reference: false}"]
    overrides += [f"objective.{slot}={json.dumps(terms)}" for slot, terms in rows(easy)[row].items()]
    with experiment(ROOT / "recipes" / "quickstart" / "plain.yaml", overrides) as run:
        at: dict[str, dict[str, float]] = {}

        class Switch(TrainerCallback):
            def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
                if state.global_step == easy:
                    at["free"] = run.probe()
                    at["working"] = run.probe(prefix=":")
                    at["blurting"] = run.probe(prefix="=")

        run.trainer.add_callback(Switch())
        lines = run.train()
    last = [line for line in lines if "evaluate/hard/pass@1" in line][-1]
    forced = {way: at[way]["hard/pass@1"] for way in ("working", "blurting")}
    entropies = [line["entropy"] for line in lines if "loss" in line]
    return {
        "hard": last["evaluate/hard/pass@1"],
        "hard pass@16": last["evaluate/hard/pass@16"],
        "easy at the switch": at["free"]["easy/pass@1"],
        "hard at the switch": at["free"]["hard/pass@1"],
        "share": at["free"]["hard/share/working"],
        "forced": forced["working"],
        "gap": forced["working"] - forced["blurting"],
        "entropy at the switch": statistics.mean(entropies[easy - 10 : easy]),
        "entropy at the end": statistics.mean(entropies[-10:]),
    }


def jobs() -> dict[str, Job]:
    everywhere = [(row, EASY, seed) for seed in SEEDS for row in MAIN]
    few = [(row, easy, seed) for seed in FEW for easy in (EASY, LONG) for row in rows(easy)]
    todo = [*everywhere, *(job for job in few if job not in everywhere), *((LIFTS, EASY, s) for s in CONFIRMED)]
    return {f"{row}|{easy}|{seed}": partial(measure, row, easy, seed) for row, easy, seed in todo}


COLUMNS = ("hard", "easy at the switch", "share", "forced", "gap", "entropy at the switch", "entropy at the end")


def line(row: str, results: list[Result]) -> list[str]:
    """A row of the table, if any of its runs is there and none of them broke the script."""
    good = [x for x in results if "hard" in x]
    if not good:
        return []
    reached = [sum(x["hard"] >= bar for x in good) for bar in (PASSED, 0.75)]
    known = [[x[c] for x in good if c in x and math.isfinite(x[c])] for c in COLUMNS]
    cells = [f"{len(good)} of {len(results)}", *map(str, reached)]
    cells += [f"{statistics.mean(values):.3f}" if values else "" for values in known]
    return ["| " + " | ".join([row, *cells]) + " |"]


def table(results: Mapping[str, Result]) -> str:
    head = ["row", "runs", f"≥ {PASSED:g}", "≥ .75", *("hard pass@1" if c == "hard" else c for c in COLUMNS)]
    top = ["", "| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    runs = lambda row, easy, seeds: [x for s in seeds if (x := results.get(f"{row}|{easy}|{s}")) is not None]
    lines = ["# The curriculum switch", "", *(__doc__ or "").strip().splitlines()[4:], ""]
    for easy in (EASY, LONG):
        body = [one for row in rows(easy) for one in line(row, runs(row, easy, SEEDS))]
        if body:
            lines += ["", f"## {easy} easy steps, {HARD} hard ones", *top, *body]
    again = line(LIFTS, runs(LIFTS, EASY, CONFIRMED))
    if again:
        lines += [
            "",
            f"## The same on seeds {CONFIRMED[0]} to {CONFIRMED[-1]}, on which nothing had been looked at",
            *top,
            *again,
        ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    command(__doc__, RESULTS, table, lambda _: jobs())
