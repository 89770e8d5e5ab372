"""GRPO with a composed entropy objective."""

from __future__ import annotations

from trl import GRPOTrainer

from entropostat.trainers.decoding import DecodingMixin
from entropostat.trainers.distribution import DistributionMixin
from entropostat.trainers.seams import EntropyMixin


class EntropyGRPOTrainer(EntropyMixin, DistributionMixin, DecodingMixin, GRPOTrainer):
    """TRL's GRPOTrainer with ``objective=``: advantages, weights, loss and penalties from entropostat.rl;
    ``optimizer=``, ``shaping=`` and ``faults=``, if given, are those blocks of a recipe, ``stop=`` is its sampler.stop, and
    ``dropout=`` that key of its ``model`` block: off unless it is "keep".

    Every other argument is GRPOTrainer's. ``args`` keeps its values except where the objective owns the field: loss
    type, clip range, importance-sampling level, reward scaling and beta.
    """
