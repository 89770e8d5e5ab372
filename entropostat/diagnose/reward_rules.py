"""Rewards that say nothing: always missing, always the same, or lost to a verifier that fails."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Log, Series
from entropostat.diagnose.windows import lasting, mean, span

ROWS = 12
"""Generations."""
GONE = 4
"""Generations in a row without a single reward: by chance none is lost whole."""
SILENT = 24
"""Generations without a word of one verifier, where others speak: its prompts may come later in a curriculum."""
FAILING, MOST = 0.2, 0.9
"""Share of the completions that a verifier fails on."""
SAME = 1e-7
"""Spread and movement of rewards that are all equal, in single precision."""


def missing(log: Log) -> Iterator[Finding]:
    total = log.series("reward")
    gone = lasting(np.isnan(total.values), GONE)
    if gone.any():
        steps = span(total, gone)
        names = [name for name in verifiers(log) if np.isnan(log.series(f"rewards/{name}/mean").values[-1:]).all()]
        failed = [name for name in names if _failures(log, name, steps[1]) > 0]
        yield Finding(
            "reward-missing",
            "critical",
            steps,
            f"no completion had a reward in {int(np.isnan(total.values).sum())} of {len(total)} generations, {GONE} or more in a row",
            f"{', '.join(failed)} failed: see the first warning of the run"
            if failed
            else f"{', '.join(names) or 'every verifier'} returned None: no reference answer, or nothing that it has a say on",
            advice.missing(failed),
        )
        return
    for name in verifiers(log):
        series = log.series(f"rewards/{name}/mean")
        silent = lasting(np.logical_and.accumulate(np.isnan(series.values)), SILENT)
        if not silent.any() or _failures(log, name, span(series, silent)[0]):
            continue
        yield Finding(
            "reward-missing",
            "info",
            span(series, silent),
            f"{name} scored no completion of the first {int(silent.sum()) + SILENT - 1} generations; other verifiers did",
            f"{name} returned None: its prompts come later, or there are none",
            advice.missing([]),
            subject=name,
        )


def failing(log: Log) -> Iterator[Finding]:
    for name in verifiers(log):
        series = log.series(f"verifier/{name}/failed").finite
        average = mean(series.values, ROWS)
        with np.errstate(invalid="ignore"):
            ill = average >= FAILING
        if not ill.any():
            continue
        steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
        timeouts, errors = (log.series(f"verifier/{name}/{key}").finite.values.sum() for key in ("timeouts", "errors"))
        slow = timeouts > errors
        yield Finding(
            "verifier-failing",
            "critical" if average[last] >= MOST else "warning",
            steps,
            f"{name} {'took too long' if slow else 'failed'} on {average[last]:.0%} of the completions (mean of {ROWS} generations)",
            "these have no reward and train nothing, or count only what other verifiers say; its first warning in the log names the error",
            advice.failing(name, slow),
            subject=name,
        )


def constant(log: Log) -> Iterator[Finding]:
    """From the first generation on. A run that has come to solve its prompts every time had other rewards before."""
    reward, still = _still(log)
    if not still.any():
        return
    value = float(reward.values[0])
    yield Finding(
        "constant-reward",
        "warning",
        span(reward, still),
        f"every completion of the first {int(still.sum()) + ROWS - 1} generations had the reward {value:.4g}",
        "the verifier does not tell completions apart, or the prompts are solved always or never: no advantage, no gradient",
        advice.constant(value > 0),
    )


def constant_until(log: Log) -> float:
    """The last step of which ``constant`` says so."""
    reward, still = _still(log)
    return float(reward.steps[still][-1]) if still.any() else -np.inf


def _still(log: Log) -> tuple[Series, np.ndarray]:
    """The rewards, and at which generations all until then had been one number."""
    reward, spread = log.series("reward").finite, log.series("reward_std").finite
    if not len(reward) or not np.array_equal(reward.steps, spread.steps):
        return reward, np.zeros(len(reward), bool)
    scale = max(1.0, abs(float(reward.values[0])))
    moved = np.maximum.accumulate(np.abs(reward.values - reward.values[0])) / scale
    spreads = np.maximum.accumulate(spread.values) / scale
    return reward, (moved <= SAME) & (spreads <= SAME) & (np.arange(len(reward)) >= ROWS - 1)


def verifiers(log: Log) -> list[str]:
    return log.middles("rewards/", "/mean")


def _failures(log: Log, name: str, step: float) -> float:
    """Completions lost up to ``step``."""
    counts = [log.series(f"verifier/{name}/{key}").finite for key in ("errors", "timeouts")]
    return float(sum(series.values[: series.count(step)].sum() for series in counts))
