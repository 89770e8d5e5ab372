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
        names = [name for name in verifiers(log) if np.isnan(log.series(f"rewards/{name}/mean").values[-1:]).all()]
        failing = [name for name in names if _failures(log, name) > 0]
        yield Finding(
            "reward-missing",
            "critical",
            span(total, gone),
            f"no completion had a reward in {int(np.isnan(total.values).sum())} of {len(total)} generations, {GONE} or more in a row",
            f"{', '.join(failing)} failed: see the first warning of the run"
            if failing
            else f"{', '.join(names) or 'every verifier'} returned None: no reference answer, or nothing that it has a say on",
            advice.missing(failing),
        )
        return
    for name in verifiers(log):
        series = log.series(f"rewards/{name}/mean")
        silent = lasting(np.isnan(series.values), SILENT)
        if silent.any() and not len(series.finite) and not _failures(log, name):
            yield Finding(
                "reward-missing",
                "info",
                span(series, silent),
                f"{name} scored no completion of {len(series)} generations; other verifiers did",
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
    found = same_from_the_start(log)
    if found is None:
        return
    value = float(found.values[0])
    yield Finding(
        "constant-reward",
        "warning",
        (int(found.steps[ROWS - 1]), int(found.steps[-1])),
        f"every completion of all {len(found)} generations had the reward {value:.4g}",
        "the verifier does not tell completions apart, or the prompts are solved always or never: no advantage, no gradient",
        advice.constant(value),
    )


def same_from_the_start(log: Log) -> Series | None:
    """The rewards, where they have never been anything but one number."""
    reward, spread = log.series("reward").finite, log.series("reward_std").finite
    if len(reward) < ROWS or len(spread) < ROWS:
        return None
    still = float(np.ptp(reward.values)) <= SAME * max(1.0, float(np.abs(reward.values).max()))
    return reward if still and float(spread.values.max()) <= SAME * max(1.0, abs(float(reward.values[0]))) else None


def verifiers(log: Log) -> list[str]:
    return log.middles("rewards/", "/mean")


def _failures(log: Log, name: str) -> float:
    """Completions lost so far."""
    return float(sum(log.series(f"verifier/{name}/{key}").finite.values.sum() for key in ("errors", "timeouts")))
