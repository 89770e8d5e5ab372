"""Terms that do nothing."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Log, Series
from entropostat.diagnose.windows import at, mean, size_in_rows, span

STEPS, ROWS = 50, 24
"""Terms that work may touch nothing for some steps: a Clip-Cov at .6 of them. Not for this long."""
NOTHING = 1e-9
ALIVE = 0.9
"""Where so many groups have no spread there is nothing to act on, and that is another finding."""
OWN = {"clip_cov": ("clip_cov/fraction",), "kl_cov": ("kl_cov/distance",)}
"""What the terms log themselves that is 0 when they do nothing."""


def inert(log: Log) -> Iterator[Finding]:
    names = {*log.middles("forces/", "/share"), *log.middles("forces/", "/touched_up"), *OWN}
    for term in sorted(names):
        acts = activity(log, term)
        if acts is None:
            continue
        key, series = acts
        size = size_in_rows(series, STEPS, ROWS)
        if len(series) < size:
            continue
        ill = mean((np.abs(series.values) > NOTHING).astype(float), size) == 0
        ill &= ~_resting(log, term, series, size) & ~_nothing_to_do(log, series)
        if not ill.any():
            continue
        steps = span(series, ill)
        yield Finding(
            "inert-term",
            "warning",
            steps,
            f"{key} is 0 at all of {int(ill.sum()) + size - 1} logged steps up to {steps[1]}",
            advice.why_inert(term),
            advice.inert(log, term),
            subject=term,
        )


def activity(log: Log, term: str) -> tuple[str, Series] | None:
    """What says whether a term acts: the share of the force, else what it logs itself, else the tokens that it touches."""
    share = log.series(f"forces/{term}/share").finite
    if len(share):
        return f"forces/{term}/share", share
    for key in OWN.get(term, ()):
        own = log.series(key).finite
        if len(own):
            return key, own
    up, down = (log.series(f"forces/{term}/touched_{side}").finite for side in ("up", "down"))
    if not len(up):
        return None
    other = at(down, down.values, up.steps, 0.0)
    return f"forces/{term}/touched_up and _down", Series(up.steps, up.values + other)


def _resting(log: Log, term: str, series: Series, size: int) -> np.ndarray:
    """A controlled coefficient that is 0 because nothing has to be done."""
    rest = np.zeros(len(series), bool)
    for knob in log.middles("control/", "/output"):
        if knob.split(".")[1:2] == [term]:
            output = log.series(f"control/{knob}/output").finite
            rest |= np.abs(at(output, output.values, series.steps, 0.0)) <= NOTHING
    return mean(rest.astype(float), size) > 0


def _nothing_to_do(log: Log, series: Series) -> np.ndarray:
    dead = log.first("frac_reward_zero_std")
    return np.nan_to_num(at(dead, mean(dead.values, 12), series.steps)) >= ALIVE
