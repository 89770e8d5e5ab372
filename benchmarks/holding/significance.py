"""Is one row better than the others? Paired by seed, exact, and corrected for the number of rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy.stats import permutation_test


def below_zero(differences: Mapping[str, np.ndarray]) -> dict[str, float]:
    """Row -> p of a one-sided exact sign-flip test that the mean difference is below 0, after Holm's correction."""
    p = {row: _sign_flip(difference) for row, difference in differences.items()}
    corrected, largest = {}, 0.0
    for rank, row in enumerate(sorted(p, key=lambda r: p[r])):
        largest = max(largest, min(1.0, p[row] * (len(p) - rank)))
        corrected[row] = largest
    return {row: corrected[row] for row in differences}


def _sign_flip(difference: np.ndarray) -> float:
    result = permutation_test(
        (difference,), np.mean, permutation_type="samples", alternative="less", n_resamples=math.inf
    )
    return float(result.pvalue)


def lower_bound(values: np.ndarray) -> float:
    """One-sided 95 % lower bound of a mean, by Student's t."""
    from scipy.stats import t

    spread = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return float(np.mean(values) - t.ppf(0.95, len(values) - 1) * spread)


def compared(ours: str, errors: Mapping[str, Sequence[np.ndarray]]) -> list[str]:
    """A page's section: row ``ours`` against the others by their log errors, one array over seeds for each target."""
    if ours not in errors:
        return []
    mean = {row: np.mean(logs, axis=0) for row, logs in errors.items()}
    others = {row: mean[ours] - log for row, log in mean.items() if row != ours}
    if not others:
        return []
    p, seeds = below_zero(others), len(mean[ours])
    lines = ["", f"## {ours} against the others", ""]
    lines.append(
        "Difference of the mean log error over all targets, paired by seed (negative: ours is nearer its target); one-sided"
    )
    lines.append(
        f"exact sign-flip test, Holm's correction. {seeds} seeds can give no p below {2.0**-seeds:.3f} before it."
    )
    lines += ["", "| row | difference | p (Holm) |", "|---|---|---|"]
    return lines + [f"| {row} | {change.mean():+.2f} | {p[row]:.3f} |" for row, change in others.items()]
