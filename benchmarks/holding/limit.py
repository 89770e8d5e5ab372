"""How near its target can any loop hold the entropy of policy.py's policy, seeing what a controller sees?

    python -m benchmarks.holding.limit --jobs 2          resumes; writes results/holding/limit.{json,md}

Constant actuators, open loop; 'slow' is a quarter of the learning rate. The policy's log entropy is taken for x, which is seen twice:
by the training signal of each step (64 completions, noise r) and by the probe every 5 steps (noise measured on frozen policies):

    x' = m + phi (x - m) + w,   w ~ N(0, q);      signal = x + c + v,   v ~ N(0, r);      probe = x + e

phi, q, r, m, c by maximum likelihood (Kalman filter) over the second half of each run. An actuator without delay or bounds would
cancel all that can be foreseen of x; what is left is the error of the best one-step forecast from past signals, whose variance P solves
P = phi^2 P r / (P + r) + q. No causal loop on this signal does better, as far as the model holds: noise is taken to be independent from
step to step, and steps of one generation share prompts, so the real limit lies higher.

A real actuator is a bonus with bounds, and acts through Adam's first moment (bounded.py). What a unit of it moves log entropy by in a
step is (1 - phi) times how far a constant bonus of .04 has moved its mean, over that; medians over the seeds are taken for all.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

from benchmarks.experiment import RECORDED, Job, Result, command, experiment
from benchmarks.holding.bounded import best
from benchmarks.holding.judging import BAND, EVERY, RECIPE, STEPS, frozen, overrides
from benchmarks.holding.loops import Objective, beside, bonus

RESULTS = RECORDED / "holding" / "limit.json"
SEEDS = (30, 31, 32, 33, 34)
SLOW: Objective = {"scalars": [{"learning_rate": {"scale": 0.25}}]}
ROWS: dict[str, Objective] = {
    "plain": {},
    "anchor": beside({}),
    "anchor, slow": SLOW | beside({}),
    "bonus 0.04": bonus(0.04),
    "plain, slow": SLOW,
    "bonus 0.04, slow": SLOW | bonus(0.04),
}
"""Slow: at a quarter of the learning rate, where entropy still falls at the end."""
COMPLETIONS = 64
"""That one step's signal is measured on."""
BARS = {"error": 0.06, "held": 0.9}
SIZES = (0.05, 0.1, 0.2, 0.4)
Floats = NDArray[np.float64]


def run(objective: Objective, seed: int) -> Result:
    with experiment(RECIPE, overrides(objective, seed)) as one:
        lines = one.train()
    return {
        "signal": [round(x["entropy"], 5) for x in lines if "entropy" in x],
        "probes": [round(x["evaluate/hard/entropy"], 5) for x in lines if "evaluate/hard/entropy" in x],
    }


def series(result: Result) -> tuple[Floats, Floats]:
    """Logs of signal and probe of the second half, by step; NaN where there is no probe. The probe after step k sees the policy
    that step k + 1 measures."""
    signal = np.log(result["signal"])
    probe = np.full(len(signal) + 1, np.nan)
    probe[::EVERY] = np.log(result["probes"])
    half = STEPS // 2
    return signal[half:], probe[half : len(signal)]


def likelihood(theta: Floats, signal: Floats, probe: Floats, noise: float) -> float:
    """Minus the log likelihood, up to a constant."""
    phi, q, r, m, c = math.tanh(theta[0]), math.exp(theta[1]), math.exp(theta[2]), theta[3], theta[4]
    x, p, total = m, q / max(1 - phi**2, 1e-3), 0.0
    for seen, checked in zip(signal, probe, strict=True):
        for value, variance in ((checked, noise**2), (seen - c, r)):
            if math.isfinite(value):
                spread = p + variance
                total += 0.5 * (math.log(spread) + (value - x) ** 2 / spread)
                x, p = x + p / spread * (value - x), p * variance / spread
        x, p = m + phi * (x - m), phi**2 * p + q
    return total


def fitted(signal: Floats, probe: Floats, noise: float) -> tuple[float, float, float]:
    """phi, q, r."""
    from scipy.optimize import minimize

    level = float(np.nanmean(probe))
    start = np.array([1.5, math.log(0.005), math.log(0.04), level, float(np.mean(signal)) - level])
    best = minimize(likelihood, start, (signal, probe, noise), "Nelder-Mead", options={"maxiter": 6000, "fatol": 1e-6})
    return math.tanh(best.x[0]), math.exp(best.x[1]), math.exp(best.x[2])


def limit(phi: float, q: float, r: float) -> float:
    """Root of P."""
    b = r * (1 - phi**2) - q
    return math.sqrt((-b + math.sqrt(b * b + 4 * q * r)) / 2)


def inside(error: float) -> float:
    """Share within the band, for a normal error about the target."""
    return math.erf(BAND / error / math.sqrt(2))


def needed(phi: float, q: float, r: float) -> float:
    """Completions a step with which both bars could be met; infinite where the policy moves too much within one step."""
    bar = min(BARS["error"], next(s for s in np.arange(0.1, 0.03, -1e-4) if inside(s) >= BARS["held"]))
    if q >= bar**2:
        return math.inf
    low, high = 1e-9, r
    if limit(phi, q, high) <= bar:
        return COMPLETIONS
    for _ in range(60):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if limit(phi, q, middle) <= bar else (low, middle)
    return COMPLETIONS * r / low


def page(known: Mapping[str, Result]) -> str:
    noise = [one["noise"] for name, one in known.items() if name.startswith("frozen|")]
    lines = [
        "# The best that a loop can do on this policy",
        "",
        *(__doc__ or "").splitlines()[4:],
        "",
        f"Noise of the probe: {statistics.mean(noise):.1%} (frozen initial policies). Bars: error {BARS['error']:.0%}, {BARS['held']:.0%} of the probes within {BAND:.0%}.",
        "",
        "| run | entropy | wander of the probe | noise of the signal | moves in one step | phi | least error | most within 10 % | completions for the bars |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    results = {name: one for name, one in sorted(known.items()) if not name.startswith("frozen|")}
    least: dict[str, list[float]] = {}
    models: dict[str, list[tuple[float, float, float, float]]] = {}
    for name, one in results.items():
        signal, probe = series(one)
        phi, q, r = fitted(signal, probe, statistics.mean(noise))
        error = limit(phi, q, r)
        least.setdefault(name.partition("|")[0], []).append(error)
        models.setdefault(name.partition("|")[0], []).append((phi, q, r, float(np.nanmean(probe))))
        more = needed(phi, q, r)
        lines.append(
            f"| {name.replace('|', ', seed ')} | {math.exp(np.nanmean(probe)):.3f} | {np.nanstd(probe):.1%} | {math.sqrt(r):.1%} "
            f"| {math.sqrt(q):.1%} | {phi:.2f} | {error:.1%} | {inside(error):.0%} | {'more than any' if math.isinf(more) else f'{more:,.0f}'} |"
        )
    lines += ["", "Least error over the seeds:", ""]
    lines += [f"- {row}: {min(x):.1%} to {max(x):.1%}, median {statistics.median(x):.1%}" for row, x in least.items()]
    return "\n".join([*lines, "", *bounded(models)]) + "\n"


def bounded(models: Mapping[str, Sequence[tuple[float, float, float, float]]]) -> list[str]:
    """Least error by the size of the actuator."""
    sizes = " | ".join(f"{size:g}" for size in SIZES)
    lines = ["Least error, median over the seeds, by the standard deviation of the bonus:", ""]
    lines += [f"| run | a unit moves, in one step | {sizes} | its gain and smoothing at {SIZES[1]:g} |"]
    lines.append("|---" * (len(SIZES) + 3) + "|")
    for row, fits in models.items():
        slow = ", slow" if row.endswith(", slow") else ""
        pairs = zip(models[f"plain{slow}"], models[f"bonus 0.04{slow}"], strict=True)
        push = statistics.median((1 - a[0]) * (b[3] - a[3]) / 0.04 for a, b in pairs)
        loops = {size: [best(*one[:3], push, size) for one in fits] for size in SIZES}
        cells = [f"{statistics.median(x.error for x in some):.1%}" for some in loops.values()]
        gain, smoothing = (statistics.median(getattr(x, key) for x in loops[SIZES[1]]) for key in ("gain", "smoothing"))
        lines.append(f"| {row} | {push:.3f} | " + " | ".join(cells) + f" | {gain:.1f}, {smoothing:.2f} |")
    return lines


def jobs() -> dict[str, Job]:
    trained: dict[str, Job] = {f"{row}|{s}": partial(run, one, s) for s in SEEDS for row, one in ROWS.items()}
    return trained | {f"frozen|{s}": partial(frozen, s) for s in SEEDS}


if __name__ == "__main__":
    command(__doc__, RESULTS, page, lambda _: jobs())
