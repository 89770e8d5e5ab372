"""Runs that differ in their seed alone are one side of a comparison: means, confidence intervals, tests paired by seed."""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from entropostat.readers.run_folder import Run

CONFIDENCE = 0.95


@dataclass(frozen=True)
class Group:
    """Runs of one recipe, in the order of their seeds. Read like a run: its series are means over the seeds."""

    name: str
    runs: tuple[Run, ...]

    @property
    def stages(self) -> dict[str, int]:
        return self.runs[0].stages

    @property
    def knobs(self) -> list[str]:
        return sorted({knob for run in self.runs for knob in run.knobs})

    @property
    def keys(self) -> list[str]:
        return list(dict.fromkeys(key for run in self.runs for key in run.keys))

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """(steps that every run has logged, means)."""
        steps, columns = self._columns(key)
        return steps, [statistics.fmean(values) for values in columns]

    def band(self, key: str) -> tuple[list[int], list[float], list[float]]:
        """(steps, smallest, largest) over the seeds."""
        steps, columns = self._columns(key)
        return steps, [min(values) for values in columns], [max(values) for values in columns]

    def values(self, key: str) -> dict[int | None, float]:
        """Seed -> what the run ends at, for the runs that logged ``key``."""
        ends = {run.seed: run.last(key) for run in self.runs}
        return {seed: value for seed, value in ends.items() if value is not None}

    def last(self, key: str) -> float | None:
        values = self.values(key)
        return statistics.fmean(values.values()) if values else None

    def half_width(self, key: str) -> float | None:
        """Half of the mean's 95 % confidence interval, by Student's t; None with fewer than two seeds."""
        values = list(self.values(key).values())
        if len(values) < 2:
            return None
        from scipy.stats import t

        quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
        return quantile * statistics.stdev(values) / math.sqrt(len(values))

    def _columns(self, key: str) -> tuple[list[int], list[list[float]]]:
        each = [dict(zip(*run.series(key), strict=True)) for run in self.runs]
        each = [values for values in each if values]
        steps = sorted(set.intersection(*(set(values) for values in each))) if each else []
        return steps, [[values[step] for values in each] for step in steps]


def grouped(runs: Iterable[Run]) -> list[Group]:
    """Runs of equal recipes together; a seed that comes twice, as in a repeated run, opens a group of its own."""
    sides: dict[tuple[str, int], list[Run]] = {}
    for run in runs:
        nth = 0
        while any(other.seed == run.seed for other in sides.get((run.fingerprint, nth), [])):
            nth += 1
        sides.setdefault((run.fingerprint, nth), []).append(run)
    made = [sorted(members, key=lambda run: -1 if run.seed is None else run.seed) for members in sides.values()]
    return [Group(_name(members), tuple(members)) for members in made]


def _name(runs: Sequence[Run]) -> str:
    """The folder's name; of several runs, without what tells their seeds apart."""
    if len(runs) == 1:
        return runs[0].name
    stems = {re.sub(r"[-_.]?(s|seed)?[-_.]?\d+$", "", run.name) or run.name for run in runs}
    return stems.pop() if len(stems) == 1 else runs[0].name


def paired_p(one: Group, other: Group, key: str) -> float | None:
    """Two-sided p of the difference, paired by seed: an exact sign-flip test. None with fewer than two seeds in common."""
    first, second = one.values(key), other.values(key)
    seeds = [seed for seed in first if seed in second and seed is not None]
    if len(seeds) < 2:
        return None
    from scipy.stats import permutation_test

    differences = [second[seed] - first[seed] for seed in seeds]
    if not any(differences):
        return 1.0
    # Exact up to 16 seeds; beyond, 65,536 random flips with a fixed seed: the same table each time.
    flips = math.inf if len(seeds) <= 16 else 65_535
    result = permutation_test(
        (differences,), statistics.fmean, permutation_type="samples", vectorized=False, n_resamples=flips, rng=0
    )
    return float(result.pvalue)
