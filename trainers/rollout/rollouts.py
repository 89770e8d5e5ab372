"""The part of a generation that a term samples for itself, and what the rest of one says of its completions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.parts import Part
from entropostat.rl.term import SamplingPenalty
from entropostat.trainers.rollout import extra
from entropostat.trainers.trl.aggregation import completion_mask
from entropostat.trainers.trl.log import note
from entropostat.trainers.trl.sampling import resample
from entropostat.trainers.trl.scoring import VISION, score_tokens

AGAIN = "completions with images cannot be sampled a second time"


class Shape(Protocol):
    """From the scores of all ranks (N, F) to the rewards (B,) of this one's completions (shaping.py)."""

    def __call__(self, per_func: torch.Tensor, output: dict[str, Any], again: bool = False) -> torch.Tensor: ...


def check_rollouts(trainer: Any, template: Objective) -> None:
    """Raises ValueError where the objective asks for completions that cannot be had."""
    part = template.sampler
    if trainer.rollout_func is not None and (part is not None or template.scalar("temperature") is not None):
        key = "scalars.temperature" if part is None else f"penalties.{part.name}"
        raise ValueError(
            f"objective.{key}: rollout_func samples at a temperature of its own, and would not hear of this one; leave "
            "one of the two out"
        )
    if part is not None and trainer._is_vlm and _has_images(trainer.train_dataset):
        raise ValueError(f"objective.penalties.{part.name}: {AGAIN}; leave it out, or train on text")
    _check_stream(trainer, template)


def _check_stream(trainer: Any, template: Objective) -> None:
    if not template.data:
        return
    key, table = f"objective.data.{template.data[0].name}", trainer.train_dataset
    if not hasattr(table, "__len__") or not hasattr(table, "__getitem__"):
        raise ValueError(f"{key}: picks prompts by their place, and train_dataset is a stream; give one with a length")
    if trainer._is_vlm and _has_images(table):
        raise ValueError(f"{key}: {AGAIN}; leave it out, or train on text")
    if template.refill is not None and template.sampler is not None and template.sampler.term.replaces:
        raise ValueError(
            f"objective.penalties.{template.sampler.name}.reference: true replaces rows that objective.data."
            f"{template.refill.name} has put together; set it to false"
        )


def _has_images(dataset: Any) -> bool:
    """By its first row: a column of images, or a prompt whose messages hold one."""
    row: dict[str, Any] = next(iter(dataset), {})
    messages = row["prompt"] if isinstance(row.get("prompt"), list) else []
    parts = [part for message in messages if isinstance(message["content"], list) for part in message["content"]]
    return bool({"image", "images"} & set(row)) or any(part["type"] == "image" for part in parts)


def extra_rollouts(
    trainer: Any,
    part: Part[SamplingPenalty] | None,
    shape: Shape,
    generate: Callable[[Any], dict[str, Any]],
    inputs: Any,
    output: dict[str, Any],
    batch: TokenBatch,
) -> dict[str, Any]:
    """Buffer keys that ``part``, the sampler of the objective, adds or, where it replaces rows, changes; {} without one."""
    at = None if part is None else part.term.request(batch)
    if part is None or at is None:
        return {}
    if any(key in output for key in VISION):
        raise ValueError(f"objective.penalties.{part.name}: {AGAIN}")
    drawn, again, *_ = resample(trainer, generate, inputs, part.term.share, at, compared=False)
    mask = completion_mask(drawn)
    own = _extra_batch(trainer, shape(again, drawn, again=True), again, drawn, batch)
    weights, metrics = part.term.select(own, part.term.entropy(batch))
    note(trainer, {key: value.item() for key, value in metrics.items()}, f"{part.name}/", "train")
    if part.term.replaces:
        return _replaced(trainer, output, drawn, weights)
    if not bool(batch.reducer.sum(weights.sum()) > 0):
        return {}
    tokens = batch.reducer.sum(mask.sum().float()) / trainer.accelerator.num_processes
    return extra.buffered(drawn, weights, batch.mask.size(0), tokens / trainer.args.steps_per_generation)


def _extra_batch(
    trainer: Any, rewards: torch.Tensor, per_func: torch.Tensor, drawn: dict[str, Any], batch: TokenBatch
) -> TokenBatch:
    mask = completion_mask(drawn)
    rows = mask.size(0)
    mine = slice(trainer.accelerator.process_index * rows, (trainer.accelerator.process_index + 1) * rows)
    uids = torch.arange(per_func.size(0), device=per_func.device)
    return TokenBatch(
        logps=mask.float() * 0,
        mask=mask,
        rewards=rewards,
        groups=(uids // trainer.num_generations)[mine],
        uids=uids[mine],
        reducer=batch.reducer,
    )


def weighted_rewards(trainer: Any, per_func: torch.Tensor) -> torch.Tensor:
    """(N,) over all ranks; as in TRL, NaN where no reward function could score the completion, whatever its weight."""
    weights = trainer.reward_weights.to(per_func.device).unsqueeze(0)
    rewards: torch.Tensor = (per_func * weights).nansum(dim=1)
    rewards[torch.isnan(per_func).all(dim=1)] = torch.nan
    return rewards


def _replaced(trainer: Any, output: dict[str, Any], drawn: dict[str, Any], weights: torch.Tensor) -> dict[str, Any]:
    new = extra.replaced(output, drawn, weights, trainer._tokenizer.pad_token_id)
    if "old_per_token_logps" in new:
        new["old_per_token_logps"] = score_tokens(trainer, new)
    return new | {"num_items_in_batch": trainer.accelerator.gather(completion_mask(new).sum()).sum()}
