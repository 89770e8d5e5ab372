"""What the synthetic runs are drawn from, and what counts as ill: written down before any rule of `entropostat diagnose`.

Every range is cut into nine equal cells (of its logarithm where ``log``). Runs to tune rules on draw from the cells 1, 3, 5, 7,
runs for the verdict from 0, 2, 4, 6, 8: no value is seen by both, and the verdict lies beyond the tuning runs on both sides.
Curves and noises come in two sets as well (shapes.py), and seeds never meet (``seed_of``).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

Split = Literal["tuning", "verdict"]
CELLS = 9
VOCABULARIES = {"tuning": (64, 1_000, 50_257), "verdict": (32, 256, 32_000, 151_936)}
LENGTHS = (200, 1_000, 10_000)
ILL_LENGTHS = (200, 1_000)


@dataclass(frozen=True)
class Range:
    low: float
    high: float
    log: bool = False

    def draw(self, rng: np.random.Generator, split: Split) -> float:
        cell = rng.choice(np.arange(1 if split == "tuning" else 0, CELLS, 2))
        x = (cell + rng.random()) / CELLS
        if self.log:
            return float(self.low * (self.high / self.low) ** x)
        return float(self.low + (self.high - self.low) * x)


def seed_of(split: Split, name: str, index: int, trial: int = 0) -> np.random.Generator:
    """One stream a run. ``trial`` counts verdicts: after a change of a rule the next one takes fresh seeds."""
    return np.random.default_rng([0 if split == "tuning" else 1 + trial, *name.encode(), index])


# Common to all runs.
START = Range(0.02, 3.0, log=True)
"""Entropy at the start, nats; cut to 60 % of ln V."""
SCATTER = Range(0.02, 0.30, log=True)
"""Coefficient of variation of the logged entropy of one policy (semantics of a frozen one: .03 to .28)."""
MEMORY = Range(0.0, 0.9)
"""Of the AR(1) noise."""
COMPLETIONS = Range(64, 512, log=True)
"""A step's completions: the noise of its reward."""
GROUPS = Range(8, 128, log=True)
PROMPTS = Range(64, 256, log=True)
"""Held-out prompts."""
ONSET = Range(0.20, 0.45)
RAMP = Range(0.03, 0.15)
"""Begin, and time until the declared effect is there, in shares of the run."""
SLOW_ONSET, SLOW_RAMP = Range(0.10, 0.25), Range(0.15, 0.35)
"""The same where only the few held-out evaluations can show it."""

# Healthy runs.
CONVERGED = Range(0.03, 0.6, log=True)
"""Entropy at the end over that at the start, with reward and held-out pass@k rising."""
COOLING = Range(0.3, 0.9)
"""The same with a flat reward."""
PLATEAU = Range(0.6, 1.5)
RISING = Range(0.02, 0.20)
PEAK = Range(0.05, 0.30)
"""Log-position u: the entropy rises to H0 (ln V / H0)^u."""
GAIN = Range(0.1, 0.5)
"""Rise of the reward; held-out rises by at least .3 of it."""
ALIVE = Range(0.0, 0.8)
"""Share of groups without spread, at the end."""
SAMPLER = Range(0.002, 0.03, log=True)
"""Mean |log p of the trainer - log p of the sampler|, nats."""
NOISY = Range(0.3, 0.6)
"""Scatter of runs with small batches."""
STRETCH = Range(0.7, 4.0, log=True)
"""Length at the end over that at the start, with held-out rising."""

# Ill runs: the lower end (for COLLAPSE, STALE and FADED the upper one) is the declared minimum effect.
COLLAPSE = Range(0.002, 0.05, log=True)
"""Entropy over that at the start, while held-out pass@k falls by LOST; without held-out sets: while the reward stands still."""
LOST = Range(0.10, 0.40)
EXPLOSION = Range(0.50, 0.95)
"""Log-position between the start and ln V, while the reward loses at least CRASH of what it was."""
CRASH = Range(0.30, 1.0)
OFF_TARGET = Range(0.20, 1.0)
"""|signal - target| / target of a loop whose output sits at a bound."""
SWING = Range(0.30, 0.90)
"""Amplitude of the signal over the target; the output swings over at least half of its range."""
PERIOD = Range(4, 24, log=True)
IDLE_ZEROS = Range(0.0, 0.6)
"""Healthy: share of steps at which a term that works touches no token."""
DEAD = Range(0.93, 1.0)
"""Share of groups without spread."""
PADDED = Range(1.8, 4.0)
"""Length over that at the start, reward up by FOOLED, held-out not (between -.3 and 0)."""
FOOLED = Range(0.15, 0.5)
GAP = Range(0.12, 0.4)
"""Held-out falls by it while the training reward rises by FOOLED."""
MISMATCH = Range(0.10, 1.5, log=True)
"""Sampler gap in nats; at least five times what it was."""
NONFINITE = Range(0.25, 1.0)
"""Share of the steps without a finite loss; healthy: at most one in 200."""
STALE = Range(0.0, 0.33)
"""Accuracy of a strategy over what it was (at least .4), its share kept at .15 or more."""
FADED = Range(0.1, 0.5)
"""entropy/p90 over that at the start, the mean kept or raised (.8 to 1.5) ..."""
LIFTED = Range(4.0, 20.0, log=True)
"""... and the median multiplied by this."""

DELAY = {
    "collapse": 60,
    "explosion": 60,
    "controller-saturated": 70,
    "controller-oscillating": 100,
    "inert-term": 70,
    "dead-groups": 60,
    "length-hacking": 30,
    "reward-gap": 30,
    "sampler-mismatch": 60,
    "non-finite": 30,
    "strategy-incompetent": 15,
    "wrong-tokens": 60,
}
"""Steps by which a rule may be late after the effect is there."""
ROWS = {"controller-oscillating": 100}
"""Where logs are sparse: at least so many logged rows, 30 for the others."""
EVALUATIONS = 2
"""Where only held-out sets show it: so many more evaluations."""
BY_EVALUATION = ("length-hacking", "reward-gap", "strategy-incompetent")


def deadline(kind: str, every: int, evaluate_every: int) -> int:
    """Steps after the effect is there."""
    steps = max(DELAY[kind], ROWS.get(kind, 30) * every) if kind not in BY_EVALUATION else DELAY[kind]
    waits = kind in BY_EVALUATION or kind == "collapse"
    return steps + (EVALUATIONS * evaluate_every if waits else 0)
