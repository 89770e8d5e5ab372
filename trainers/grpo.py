"""GRPO with a composed entropy objective."""

from __future__ import annotations

from trl import GRPOTrainer

from entropostat.trainers.decoding import DecodingMixin
from entropostat.trainers.seams import EntropyMixin


class EntropyGRPOTrainer(EntropyMixin, DecodingMixin, GRPOTrainer):
    """TRL's GRPOTrainer with ``objective=``: advantages, weights, loss and penalties from entropostat.rl;
    ``optimizer=``, ``shaping=`` and ``faults=``, if given, are those blocks of a recipe, and ``stop=`` is its sampler.stop.

    Every other argument is GRPOTrainer's. ``args`` keeps its values except where the objective owns the field: loss
    type, clip range, importance-sampling level, reward scaling and beta.
    """
