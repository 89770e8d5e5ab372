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
        share = log.series(f"forces/{term}/share").finite
        for key, series in activity(log, term):
            size = size_in_rows(series, STEPS, ROWS)
            if len(series) < size:
                continue
            ill = mean((np.abs(series.values) > NOTHING).astype(float), size) == 0
            ill &= ~_resting(log, term, series, size) & ~_nothing_to_do(log, series) & ~_pulls(share, series)
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
            break


def activity(log: Log, term: str) -> Iterator[tuple[str, Series]]:
    """What says whether a term acts: the share of the force, and what it logs itself, which is there in more steps; where there is
    neither, the tokens that it touches."""
    keys = [key for key in (f"forces/{term}/share", *OWN.get(term, ())) if len(log.series(key).finite)]
    for key in keys:
        yield key, log.series(key).finite
    up, down = (log.series(f"forces/{term}/touched_{side}").finite for side in ("up", "down"))
    if not keys and len(up):
        other = at(down, down.values, up.steps, 0.0)
        yield f"forces/{term}/touched_up and _down", Series(up.steps, up.values + other)


def _pulls(share: Series, series: Series) -> np.ndarray:
    """Where the force of the term was above 0 in the last STEPS steps, whatever else says that it does nothing."""
    if not len(share):
        return np.zeros(len(series), bool)
    last = np.maximum.accumulate(np.where(np.abs(share.values) > NOTHING, share.steps, -np.inf))
    return np.asarray(at(share, last, series.steps, -np.inf) > series.steps - STEPS)


def _resting(log: Log, term: str, series: Series, size: int) -> np.ndarray:
    """A controlled coefficient that is 0 because nothing has to be done."""
    rest = np.zeros(len(series), bool)
    for slot in dict.fromkeys(knob.partition(".")[0] for knob in log.middles("control/", "/output")):
        for field in log.middles(f"control/{slot}.{term}.", "/output"):
            output = log.series(f"control/{slot}.{term}.{field}/output").finite
            rest |= np.abs(at(output, output.values, series.steps, 0.0)) <= NOTHING
    return mean(rest.astype(float), size) > 0


def _nothing_to_do(log: Log, series: Series) -> np.ndarray:
    dead = log.first("frac_reward_zero_std")
    return np.nan_to_num(at(dead, mean(dead.values, 12), series.steps)) >= ALIVE
