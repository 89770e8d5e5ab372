"""Loops that sit at a bound off their target, or swing."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cache

import numpy as np
from numpy.typing import NDArray

from entropostat.diagnose import advice
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.log import Floats, Log, Series
from entropostat.diagnose.windows import (
    LONG,
    PART,
    at,
    confirmed,
    detrended,
    deviation,
    lasting,
    mean,
    size_in_rows,
    span,
)

STUCK_STEPS, STUCK_ROWS = 50, 24
"""A loop that settles is at its bound on the way, for less than this."""
STUCK = 0.72
"""Share of the window at the bound."""
OFF = 0.12
"""Mean relative error that counts as off target."""


def saturated(log: Log) -> Iterator[Finding]:
    for knob in log.middles("control/", "/saturated"):
        flag = log.series(f"control/{knob}/saturated").finite
        size = size_in_rows(flag, STUCK_STEPS, STUCK_ROWS)
        error = relative_error(log, knob)
        if len(flag) < size or not len(error):
            continue
        off = at(error, mean(error.values, size), flag.steps)
        share = mean(flag.values, size)
        with np.errstate(invalid="ignore"):
            ill = confirmed((share >= STUCK) & (np.abs(off) >= OFF))
        if not ill.any():
            continue
        steps, last = span(flag, ill), int(np.flatnonzero(ill)[-1])
        output = log.series(f"control/{knob}/output").finite
        value = at(output, output.values, flag.steps)[last]
        side = "below" if off[last] > 0 else "above"
        yield Finding(
            "controller-saturated",
            "warning",
            steps,
            f"control/{knob}: at its bound ({value:.4g}) for {share[last]:.0%} of the last {size} logged updates, the signal "
            f"{abs(off[last]):.0%} {side} its target",
            f"the bounds of {knob}, or a target that this actuator does not reach",
            advice.saturated(log, knob, float(value)),
            subject=knob,
        )


def relative_error(log: Log, knob: str, signal_key: str = "smoothed") -> Series:
    """(target - signal) / |target|; the controller's own error where these are not logged."""
    target, signal = (log.series(f"control/{knob}/{key}").finite for key in ("target", signal_key))
    if len(target) and len(signal):
        goal = at(target, target.values, signal.steps)
        with np.errstate(invalid="ignore", divide="ignore"):
            return Series(signal.steps, (goal - signal.values) / np.maximum(np.abs(goal), 1e-9)).finite
    return log.series(f"control/{knob}/error").finite


WINDOW = 72
"""Rows in which a swing is looked for: three periods of the slowest."""
PERIODS = (3.7, 30)
"""Rows from crest to crest."""
EVERY = 4
"""Rows from one look to the next; two in a row must agree."""
SIZE = 0.15
"""Standard deviation of the relative error, before the loop smooths it: a swing of a fifth of the target."""
ONE, BOTH = 0.5, 1.3
"""Share of the variance at one common period: of error and output each, and the sum of the two."""
SHARP, REPEATS = 0.4, 0.45
"""Red noise swings as well, without a period: after whitening, the share at the period, or the correlation over it. Of error or
output: where one is square, its whitened half is nothing but edges."""
AGAIN = (0.65, 0.55)
"""Correlation over a period and over another, mean of error and output."""
REACH = 24
"""Rows in which whole multiples of a short period are looked for."""
THROWN, STAY, FAR = 4, 2, 0.3
"""Ways from one bound to the other within WINDOW rows, rows at each, and the deviation of the smoothed error: a limit cycle, whether
or not it keeps time. Noise touches bounds as well, for a row at a time and by less."""


def oscillating(log: Log) -> Iterator[Finding]:
    for knob in log.middles("control/", "/output"):
        error = relative_error(log, knob)
        if len(error) < WINDOW:
            continue
        output = log.series(f"control/{knob}/output").finite
        answer = np.nan_to_num(at(output, output.values, error.steps))
        raw = relative_error(log, knob, "signal")
        wide, moves = at(raw, deviation(raw.values, WINDOW), error.steps), deviation(answer, WINDOW)
        far = deviation(error.values, WINDOW)
        bound = at_bounds(log, knob, answer, error.steps)
        periods: dict[int, float] = {}
        for end in range(WINDOW, len(error) + 1, EVERY):
            if wide[end - 1] >= SIZE and moves[end - 1] > 0:
                window = slice(end - WINDOW, end)
                period = common_period(error.values[window], answer[window])
                if period is None and far[end - 1] >= FAR and crossings(bound[window]) >= THROWN:
                    period = 2 * WINDOW / crossings(bound[window])
                if period is not None:
                    periods[end - 1] = period
        looks = [
            i for i, streak in streaks(periods).items() if streak >= (max(i // PART // EVERY, 2) if i >= LONG else 2)
        ]
        if not looks:
            continue
        last = looks[-1]
        pace = float(np.median(np.diff(error.steps)))
        ways = crossings(bound[last + 1 - WINDOW : last + 1])
        how = f", from bound to bound {ways} times in {WINDOW} rows" if ways >= THROWN else ""
        yield Finding(
            "controller-oscillating",
            "warning",
            (int(error.steps[looks[0]]), int(error.steps[last])),
            f"control/{knob}: the error swings with a period of {periods[last] * pace:.0f} steps and a deviation of "
            f"{wide[last]:.0%} of the target, and the output with it (deviation {moves[last]:.3g}{how})",
            f"the gains of {knob} are too high for the delay and the noise of its signal",
            advice.oscillating(log, knob),
            subject=knob,
        )


def at_bounds(log: Log, knob: str, output: Floats, steps: Floats) -> Floats:
    """Per row: 1 at the upper bound, -1 at the lower, 0 between them."""
    flag = log.series(f"control/{knob}/saturated").finite
    stuck = np.nan_to_num(at(flag, flag.values, steps)) > 0 if len(flag) else np.zeros(len(steps), bool)
    middle = (np.maximum.accumulate(output) + np.minimum.accumulate(output)) / 2
    return np.asarray(np.where(stuck, np.sign(output - middle), 0.0), dtype=np.float64)


def crossings(bound: Floats) -> int:
    """Ways from one bound to the other, where it stays at each."""
    met = bound[lasting(bound > 0, STAY) | lasting(bound < 0, STAY)]
    return int((met[1:] != met[:-1]).sum())


def streaks(ends: Iterable[int]) -> dict[int, int]:
    """How many looks in a row agree by each."""
    out: dict[int, int] = {}
    for i in ends:
        out[i] = out.get(i - EVERY, 0) + 1
    return out


def common_period(error: Floats, output: Floats) -> float | None:
    """The period at which both swing, or None."""
    n = len(error)
    flat, answer = detrended(error), detrended(output)
    spectrum = np.abs(_basis(n) @ flat) ** 2
    best = int(np.argmax(spectrum))
    period = float(_periods()[best])
    if best == 0:  # the slowest: a drift, not a swing
        return None
    share = 2 / n / max(float(flat @ flat), 1e-300)
    in_error = float(spectrum[best] * share)
    if in_error < ONE:
        return None
    near = _basis(n)[max(best - 2, 0) : best + 3]
    in_output = float(np.max(np.abs(near @ answer) ** 2)) * 2 / n / max(float(answer @ answer), 1e-300)
    if in_output < ONE or in_error + in_output < BOTH:
        return None
    lags = whole_lags(period)
    for lag, least in zip(lags, AGAIN, strict=True):
        if (_over(flat, lag) + _over(answer, lag)) / 2 < least:
            return None
    return period if any(_periodic(values, best, lags[0]) for values in (flat, answer)) else None


def whole_lags(period: float) -> tuple[float, float]:
    """Two multiples of the period, shorter one first, that are nearest to whole rows: 9 and 18 rows of a period of 4.5."""
    multiples = [period * k for k in range(1, max(int(REACH / period), 2) + 1)]
    nearest = sorted(multiples, key=lambda lag: (round(abs(lag - round(lag)) / period, 2), lag))[:2]
    return min(nearest), max(nearest)


def _periodic(values: Floats, best: int, lag: float) -> bool:
    """More than red noise: of what is left when each value's memory of the last one is taken out."""
    memory = float(np.clip(_correlation(values, 1), -0.95, 0.95))
    white = values[1:] - memory * values[:-1]
    power = max(float(white @ white), 1e-300)
    sharp = abs(complex(_basis(len(values))[best, 1:] @ white)) ** 2 * 2 / len(white) / power
    return sharp >= SHARP or _over(white, lag) >= REPEATS


def _over(values: Floats, lag: float) -> float:
    return max(_correlation(values, round(lag) + shift) for shift in (-1, 0, 1))


def _correlation(values: Floats, lag: int) -> float:
    n = len(values)
    return float(values[lag:] @ values[: n - lag]) / max(float(values @ values), 1e-300) * n / (n - lag)


def _periods() -> Floats:
    low, high = PERIODS
    return np.asarray(1 / np.linspace(1 / high, 1 / low, 96), dtype=np.float64)


@cache
def _basis(n: int) -> NDArray[np.complex128]:
    return np.asarray(np.exp(-2j * np.pi * np.arange(n)[None] / _periods()[:, None]), dtype=np.complex128)
