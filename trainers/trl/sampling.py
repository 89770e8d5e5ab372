"""Further rollouts of a generation: TRL generates and scores them, and its logs and counters stay as they were.

The only door to a second rollout. Every rank must come through it at the same time and with as many rows.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

from accelerate.utils import set_seed
from torch import Tensor

from entropostat.trainers.trl.log import newest


def seed_again(trainer: Any) -> None:
    """As TRL has seeded this process before it started an engine of vLLM there. The engine seeds all generators of the process
    with its number among the engines, and draws from them: without this, every seed of a recipe would draw the same.

    The ranks that hold one engine together must draw alike.
    """
    if trainer.use_vllm and trainer.vllm_mode == "colocate":
        set_seed(trainer.args.seed + trainer.accelerator.process_index // trainer.vllm_tensor_parallel_size)


@contextmanager
def temperature(trainer: Any, value: float) -> Iterator[None]:
    """Inside, completions are sampled at ``value``; log-probs keep the temperature that the trainer was built with."""
    if trainer.use_vllm:
        holders = [(trainer.vllm_generation, "temperature")]
    else:
        holders = [(trainer.generation_config, "temperature")]
    before = [getattr(owner, name) for owner, name in holders]
    overrides = getattr(trainer, "generation_kwargs", {})
    for owner, name in holders:
        setattr(owner, name, value)
    if "temperature" in overrides:
        overrides["temperature"] = value
    try:
        yield
    finally:
        for (owner, name), old in zip(holders, before, strict=True):
            setattr(owner, name, old)
        if "temperature" in overrides:
            overrides["temperature"] = before[0]


@contextmanager
def unlogged(trainer: Any) -> Iterator[None]:
    """Inside, nothing that is generated or scored reaches the metrics, the completions table or the token counter."""
    mode = "train" if trainer.model.training else "eval"
    metrics = {name: list(values) for name, values in trainer._metrics[mode].items()}
    logs, seen = copy.deepcopy(trainer._logs), trainer.state.num_input_tokens_seen
    try:
        yield
    finally:
        trainer._metrics[mode].clear()
        trainer._metrics[mode].update(metrics)
        trainer._logs, trainer.state.num_input_tokens_seen = logs, seen


def whole_groups(rows: int, group: int, share: float) -> int:
    """How many of a rank's ``rows``, from the first, make up about ``share`` of its prompt groups, at least one.

    All of them where groups straddle ranks: a part of the rows would hold a part of a group.
    """
    if rows % group:
        return rows
    return group * max(int(share * (rows // group)), 1)


class Further(NamedTuple):
    """What a further rollout gave, on its way from TRL."""

    output: dict[str, Any]
    """TRL's."""
    per_func: Tensor
    """(N, F) scores of all ranks, as ``_calculate_rewards`` gives them."""
    answers: Sequence[Any] | None
    """Answer keys of this rank's completions."""
    shown: dict[str, list[Any]]
    """Columns of TRL's log of completions, of all ranks."""
    tokens: int
    """Of prompts and completions, on all ranks, as TRL counts them."""


def resample(
    trainer: Any,
    generate: Callable[[Any], dict[str, Any]],
    inputs: list[dict[str, Any]],
    share: float = 1.0,
    at: float | None = None,
    compared: bool = True,
) -> Further:
    """The first ``share`` of the prompts of ``inputs``, sampled and scored; ``at`` another temperature if one is given.

    ``generate`` is TRL's own method. Without ``compared`` the reference policy is not asked. Whoever wants several rounds
    calls it several times, and bounds them.
    """
    rows = whole_groups(len(inputs), trainer.num_generations, share)
    beta, scores = trainer.beta, trainer._rewards_per_func
    counted = trainer.state.num_input_tokens_seen
    trainer.beta = beta if compared else 0.0
    try:
        with nullcontext() if at is None else temperature(trainer, at), unlogged(trainer):
            output = generate([dict(row) for row in inputs[:rows]])
            per_func = trainer._rewards_per_func
            shown = newest(trainer._logs, len(per_func))
            tokens = trainer.state.num_input_tokens_seen - counted
            answers = None if trainer.answer_keys is None else trainer.answer_keys()
            return Further(output, per_func, answers, shown, tokens)
    finally:
        trainer.beta, trainer._rewards_per_func = beta, scores
