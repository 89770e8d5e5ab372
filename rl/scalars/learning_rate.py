"""A factor on the learning rate.

    lr_t = scale_t * schedule(t)

Robbins 1951: the step size is the first knob of stochastic approximation. The trainer's own schedule stays; the factor comes
on top of it, for all parameter groups. The entropy change of a step is proportional to it to first order.
"""

from __future__ import annotations

from dataclasses import dataclass

from entropostat.rl.registry import SCALARS, option
from entropostat.rl.term import Scalar


@SCALARS.register("learning_rate", paper="Robbins 1951")
@dataclass(frozen=True)
class LearningRate(Scalar):
    """Speed the run up or slow it down as it goes.

    Not a substitute for the schedule: with both, the product counts. The logged ``learning_rate`` is the schedule's, the
    factor is logged as the controller's output.
    """

    scale: float = option(1.0, low=0.0, doc="factor on the scheduled learning rate")
