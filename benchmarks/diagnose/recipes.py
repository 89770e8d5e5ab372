"""Recipes for the quickstart policy that must go wrong, and how to tell from the run itself that they did."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.experiment import ROOT

HARD, QUICKSTART = ROOT / "benchmarks" / "hard.yaml", ROOT / "recipes" / "quickstart" / "pid-kl.yaml"
RLHF = ROOT / "recipes" / "quickstart" / "rlhf-grpo.yaml"
Line = dict[str, Any]
Check = Callable[[list[Line]], bool]


@dataclass(frozen=True)
class Sick:
    recipe: Path
    overrides: tuple[str, ...]
    check: Check
    """Did the run go wrong (or, of those of WELL, right)? By the whole of it, in hindsight, which no rule has."""
    spoil: bool = False
    """The script makes the loss NaN from step 20 on, at every other step."""
    sent_until: int | None = None
    """The script sends vLLM's engine no weights from this step on."""


def values(lines: list[Line], key: str) -> np.ndarray:
    return np.array([line[key] for line in lines if isinstance(line.get(key), int | float)])


def ends(lines: list[Line], key: str, share: float = 0.1) -> tuple[float, float]:
    """Means of the first and of the last tenth."""
    column = values(lines, key)
    count = max(int(len(column) * share), 1)
    return (
        (float(column[:count].mean()), float(column[-count:].mean())) if len(column) else (float("nan"), float("nan"))
    )


def began(lines: list[Line], key: str) -> float:
    """The first three rows: where everything happens at once, the first tenth has half of it."""
    return float(values(lines, key)[:3].mean())


def moved(lines: list[Line], key: str) -> float:
    first, last = ends(lines, key)
    return last - first


def steps(count: int, source: str = "hard") -> str:
    return f"data.curriculum=[{{source: {source}, steps: {count}}}]"


SHORT = ("evaluate={every: 10, prompts: 48, samples: 8, k: [1, 8], greedy: false, reference: false}",)


def bonus(text: str) -> str:
    return f"objective.penalties=[{{entropy_bonus: {{coef: {text}}}}}]"


def _collapsed(lines: list[Line]) -> bool:
    return ends(lines, "entropy")[1] < 0.05 * began(lines, "entropy") and moved(lines, "evaluate/hard/pass@8") < -0.1


def _exploded(lines: list[Line]) -> bool:
    first, last = ends(lines, "entropy")
    top = float(np.log(16))
    return first * (top / first) ** 0.5 < last and moved(lines, "reward") < -0.3 * ends(lines, "reward")[0]


def _off_target(lines: list[Line]) -> bool:
    knob = "control/penalties.entropy_bonus.coef"
    error = values(lines, f"{knob}/target")[-20:] / values(lines, f"{knob}/smoothed")[-20:] - 1
    return float(values(lines, f"{knob}/saturated")[-20:].mean()) > 0.9 and float(np.abs(error).min()) > 0.15


def _swings(lines: list[Line]) -> bool:
    knob = "control/penalties.entropy_bonus.coef"
    error = (values(lines, f"{knob}/smoothed") / values(lines, f"{knob}/target") - 1)[-60:]
    turns = int((np.diff(np.sign(error)) != 0).sum())
    return turns >= 5 and float(np.abs(error).max()) > 0.3


def _dead(lines: list[Line]) -> bool:
    return ends(lines, "frac_reward_zero_std", 0.5)[1] > 0.93


def _padded(lines: list[Line]) -> bool:
    first, last = ends(lines, "completions/mean_length")
    return last > 1.8 * first and moved(lines, "reward") > 0.15 and moved(lines, "evaluate/hard/pass@1") < 0


def _fooled(lines: list[Line]) -> bool:
    return moved(lines, "reward") > 0.15 and moved(lines, "evaluate/hard/pass@1") < -0.12


def _forgot(lines: list[Line]) -> bool:
    share, (before, after) = (
        ends(lines, "evaluate/hard/share/working")[1],
        ends(lines, "evaluate/hard/accuracy/working"),
    )
    return share > 0.15 and after < 0.33 * before


def _broken(lines: list[Line]) -> bool:
    skipped = values(lines, "health/nonfinite")
    return sum("loss" in line and line["loss"] is None for line in lines) >= 5 or (
        len(skipped) > 0 and skipped[-1] >= 5
    )


def _another(lines: list[Line]) -> bool:
    """In the last generations TRL drops completions as too likely under one of the two policies, or finds them 20 times less likely."""
    return ends(lines, "sampling/importance_sampling_ratio/min")[1] < 0.05


def _always(lines: list[Line]) -> bool:
    return len(values(lines, "entropy")) >= 60


def _learned(lines: list[Line]) -> bool:
    return moved(lines, "evaluate/hard/pass@1") > 0.4


PID = "{pid: {signal: entropy, effect: raises, %s}}"

SICK: dict[str, Sick] = {
    "collapse": Sick(HARD, (*SHORT, steps(120), bonus("-1.0"), "trainer.learning_rate=2.0e-3"), _collapsed),
    "explosion": Sick(HARD, (*SHORT, steps(80), bonus("0.5")), _exploded),
    "controller-saturated": Sick(
        HARD, (*SHORT, steps(80), bonus(PID % "target: 1.2, kp: 0.1, ki: 0.01, low: 0, high: 0.001")), _off_target
    ),
    "controller-oscillating": Sick(
        HARD,
        (
            *(*SHORT, steps(160), "trainer.steps_per_generation=1"),
            bonus(PID % "target: 0.5, kp: 2, ki: 0.5, smoothing: 0.5, low: -1, high: 1"),
        ),
        _swings,
    ),
    "inert-term/kl_cov": Sick(
        HARD,
        (*SHORT, steps(80), "objective.penalties=[{kl_cov: {fraction: 2.0e-2}}]", "trainer.steps_per_generation=1"),
        _always,
    ),
    "inert-term/clip_cov": Sick(
        HARD, (*SHORT, steps(80), "objective.weights=[{clip_cov: {fraction: 2.0e-2, low: 50, high: 51}}]"), _always
    ),
    "dead-groups": Sick(HARD, (*SHORT, steps(80), "trainer.max_completion_length=1"), _dead),
    "length-hacking": Sick(
        HARD,
        (
            *SHORT,
            steps(120),
            # The first verifier judges held-out completions: it is the true one, and trains nothing.
            "reward=[{chain: {weight: 0.0}}, {function: {path: 'benchmarks.diagnose.paid:by_length'}}]",
            "trainer.learning_rate=3.0e-4",
        ),
        _padded,
    ),
    "reward-gap": Sick(RLHF, (*SHORT, steps(120)), _fooled),
    "non-finite": Sick(
        # transformers hides a loss that is not finite by default.
        HARD,
        (*SHORT, steps(60), "trainer.logging_nan_inf_filter=false"),
        _broken,
        spoil=True,
    ),
    "strategy-incompetent": Sick(
        # Few slips: the working must be a skill that can be lost.
        QUICKSTART,
        (*SHORT, steps(120, "easy"), "model.build.slips=0.05", "evaluate.every=5"),
        _forgot,
    ),
}
"""``wrong-tokens`` has no real runs: a bonus under control gives entropy to the decisions first; six recipes that were to take it from
them (a reward for one choice, a negative bonus on the least certain tokens) brought it about on some seeds of a hundred and up, and
none on most. ``sampler-mismatch`` has its own below."""

WELL: dict[str, Sick] = {
    "healthy/plain": Sick(HARD, (*SHORT, steps(160)), _learned),
    "healthy/anchored": Sick(HARD, (*SHORT, steps(160), "objective.penalties=[{kl_ref: {coef: 0.1}}]"), _learned),
    "healthy/switch": Sick(QUICKSTART, (), _learned),
}
"""Runs that should learn; those that do are healthy. ``healthy/switch`` changes from easy to hard prompts, with a loop on its KL."""

VLLM = ("trainer.use_vllm=true", "trainer.vllm_max_model_length=64", "trainer.steps_per_generation=1")
SAMPLED: dict[str, Sick] = {
    "sampler-mismatch": Sick(HARD, (*SHORT, *VLLM, steps(80)), _another, sent_until=20),
    "healthy/vllm": Sick(HARD, (*SHORT, *VLLM, steps(160)), _learned),
}
"""Those that need vLLM's engine, which the environment of `make test-vllm` has."""
