"""GRPO with a composed entropy objective."""

from __future__ import annotations

from trl import GRPOTrainer

from entropostat.trainers.run_seams import RunSeams
from entropostat.trainers.seams import EntropyMixin


class EntropyGRPOTrainer(EntropyMixin, RunSeams, GRPOTrainer):
    """TRL's GRPOTrainer with ``objective=``: advantages, weights, loss and penalties from entropostat.rl, in a form of
    ``recipe.objective``; ``optimizer=``, ``shaping=``, ``faults=`` and ``tracking=``, if given, are those blocks of a recipe,
    ``stop=`` is its sampler.stop, and ``dropout=`` that key of its ``model`` block: off unless it is "keep". ``teacher=`` is the
    model that `distill` and `tip` compare with, opened by the caller.

    Every other argument is GRPOTrainer's, by position or by name. ``args`` is copied, and what the objective decides is written
    into the copy: loss type, clip range, importance-sampling level, reward scaling and beta. Another value there, or
    of a field that has nothing left to act on, is a ValueError that names the spelling.
    """
