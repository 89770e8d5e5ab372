"""From what TRL holds to the record that every term reads: of a generation, and of a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import Extra, TokenBatch
from entropostat.trainers.trl.aggregation import completion_mask, tokens_per_micro_batch
from entropostat.trainers.trl.buffer import KEY


def of_generation(
    trainer: Any,
    output: Mapping[str, Any],
    rewards: Tensor,
    old_logps: Tensor | None,
    fields: Mapping[str, Any],
) -> TokenBatch:
    """This rank's share of TRL's ``output``. ``rewards`` (B,) are shaped; ``fields`` are those that somebody else knows."""
    per_func, answers, mask = trainer._rewards_per_func, trainer.answer_keys(), completion_mask(output)
    rows = mask.size(0)
    mine = slice(trainer.accelerator.process_index * rows, (trainer.accelerator.process_index + 1) * rows)
    size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    uids = torch.arange(per_func.size(0), device=rewards.device)
    return TokenBatch(
        logps=mask.float() * 0 if old_logps is None else old_logps,
        mask=mask,
        old_logps=old_logps,
        ref_logps=output.get("ref_per_token_logps"),
        rewards=rewards,
        reward_parts=per_func[mine],
        reward_weights=tuple(trainer.reward_weights.tolist()),
        groups=(uids // size)[mine],
        uids=uids[mine],
        answers=None if answers is None else tuple(answers),
        planning=trainer.planning.mask(output["completion_ids"], mask, rewards),
        **fields,
    )


def of_micro_batch(
    trainer: Any,
    inputs: dict[str, Any],
    logps: Tensor,
    entropy: Tensor,
    extra: Extra | None,
    fields: Mapping[str, Any],
) -> TokenBatch:
    """The ordinary rows of TRL's ``inputs``, with the (B, T) of their forward pass; ``extra`` has the others."""
    return TokenBatch(
        logps=logps,
        mask=completion_mask(inputs),
        advantages=inputs["advantages"],
        old_logps=inputs.get("old_per_token_logps"),
        ref_logps=inputs.get("ref_per_token_logps"),
        entropy=entropy,
        uids=inputs.get(f"{KEY}uids"),
        tokens=tokens_per_micro_batch(trainer, inputs),
        extra=extra,
        **fields,
    )
