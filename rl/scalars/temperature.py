"""The sampling temperature.

    p = softmax(z / value)     both where completions are sampled and where they are scored

Ackley 1985 (the Boltzmann machine). A value is taken at the start of a generation and holds until its last update, so that
ratios compare like with like. Log-probs, entropies and the reference's log-probs are at this temperature too, as in TRL
with a constant one: entropy rises with it although the policy has not changed. ``entropy_ratio`` moves less.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.registry import SCALARS, option
from entropostat.rl.term import Scalar


@SCALARS.register("temperature", paper="Ackley 1985", clock="rollout")
@dataclass(frozen=True)
class Temperature(Scalar):
    """Sample hotter or cooler as the run goes; takes the place of ``sampler.temperature``.

    Raises the entropy of what is sampled at once and that of the policy not at all: a hot sampler shows the policy more
    of what it would not do, a cool one sharpens what it does. Not for models whose head has a bias or a soft cap.
    """

    value: float = option(1.0, low=1e-3, high=1e3, doc="temperature of sampling and scoring")
