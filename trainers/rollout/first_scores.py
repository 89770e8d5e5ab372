"""A verifier that scores nothing of the first generation ends the run: there would be nothing to learn from, to the last step."""

from __future__ import annotations

from functools import reduce
from operator import add
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor

from entropostat.faults import RunFault
from entropostat.reward.reward_function import RewardFunction


def check_first_scores(trainer: Any, per_func: Tensor) -> None:
    """Raises RunFault on all ranks alike: ``per_func`` (N, F) holds the scores of all, NaN where there is none.

    None says that a verifier has no say. So one that only says None is kept where another scores, if the prompts come from
    several sources: its own may be still to come. One that fails is not. One whose sources have not come up has not begun.
    """
    if not trainer.model.training:  # an evaluation
        return
    functions = [(i, f) for i, f in enumerate(trainer.reward_funcs) if isinstance(f, RewardFunction) and not f.begun]
    silent = []
    for index, function in functions:
        function.begun = True
        if bool(per_func[:, index].isnan().all()):
            silent.append(function)
    if not silent:
        return
    told = gather_object([[function.silence for function in silent]])
    weights = trainer.reward_weights.to(per_func.device)
    learns = bool((~per_func.isnan() & (weights != 0)).any())
    for place, function in enumerate(silent):
        silence = reduce(add, (rank[place] for rank in told))
        function.begun = silence.completions > 0
        if function.begun and (silence.failed or not learns or not _several(function, trainer)):
            name = function.column.verifier
            raise RunFault(silence.line(f"reward.{name}", function.scorer.verifiers[name].compares))


def _several(function: RewardFunction, trainer: Any) -> bool:
    """Do the prompts that it may judge come from more than one source?"""
    table = trainer.train_dataset
    if len(function.column.sources) == 1:
        return False
    return "source" not in (table.column_names or []) or len(set(table["source"])) > 1
