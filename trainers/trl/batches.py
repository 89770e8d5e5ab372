"""From what TRL holds to the record that every term reads: of a generation, and of a micro-batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from entropostat.faults import RunFault
from entropostat.reward.reward_function import RewardFunction
from entropostat.rl.batch import Extra, TokenBatch
from entropostat.trainers.trl.aggregation import completion_mask, tokens_per_micro_batch
from entropostat.trainers.trl.buffer import KEY, SAMPLED


def of_generation(
    trainer: Any,
    output: Mapping[str, Any],
    unshaped: Tensor,
    old_logps: Tensor | None,
    fields: Mapping[str, Any],
) -> TokenBatch:
    """This rank's share of TRL's ``output``. ``unshaped`` (B,): its rewards as the verifiers gave them; ``fields`` are those
    that somebody else knows."""
    per_func, mask = trainer._rewards_per_func, completion_mask(output)
    rows = mask.size(0)
    mine = slice(trainer.accelerator.process_index * rows, (trainer.accelerator.process_index + 1) * rows)
    size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    uids = torch.arange(per_func.size(0), device=unshaped.device)
    return TokenBatch(
        logps=mask.float() * 0 if old_logps is None else old_logps,
        mask=mask,
        old_logps=old_logps,
        sampler_logps=output.get(SAMPLED, old_logps),
        ref_logps=output.get("ref_per_token_logps"),
        rewards=unshaped,
        unshaped=unshaped,
        reward_parts=per_func[mine],
        reward_weights=tuple(trainer.reward_weights.tolist()),
        judged=by_judge(trainer.reward_funcs, per_func[mine]),
        longest=trainer.max_completion_length,
        groups=(uids // size)[mine],
        uids=uids[mine],
        **fields,
    )


def by_judge(functions: Sequence[Any], scores: Tensor) -> Tensor | None:
    """(B,) of ``scores`` (B, functions) the first that has a say of those that decide in evaluation: on a source that one verifier
    decides on, its judge. NaN where none has, None where no reward function is a verifier that decides."""
    verifiers = {f.__name__: place for place, f in enumerate(functions) if isinstance(f, RewardFunction)}
    scorer = next((f.scorer for f in functions if isinstance(f, RewardFunction)), None)
    deciders = [] if scorer is None else [name for name in scorer.deciders if name in verifiers]
    if not deciders:
        return None
    judged = scores.new_full((len(scores),), torch.nan)
    for name in deciders:
        judged = torch.where(judged.isnan(), scores[:, verifiers[name]], judged)
    return judged


def answers_of(trainer: Any, rows: int, needs: frozenset[str]) -> tuple[str | None, ...] | None:
    """Keys of the ``rows`` completions that this rank has scored last; None where nobody gives any."""
    if trainer.answer_keys is None:
        if "answers" in needs:
            raise RunFault(
                "the objective clusters answers, and trainer.answer_keys is None: give the trainer a function that returns "
                "one key (text, or None) for each completion that was scored last"
            )
        return None
    keys = trainer.answer_keys()
    if len(keys) != rows:
        raise RunFault(
            f"trainer.answer_keys gave {len(keys)} keys for the {rows} completions of this rank; give one each"
        )
    return tuple(keys)


def of_micro_batch(
    trainer: Any,
    inputs: dict[str, Any],
    logps: Tensor,
    entropy: Tensor,
    extra: Extra | None,
    fields: Mapping[str, Any],
) -> TokenBatch:
    """The ordinary rows of TRL's ``inputs``, with the (B, T) of their forward pass; ``extra`` has the others."""
    old_logps = inputs.get("old_per_token_logps")  # None: this pass is that of the policy which sampled
    return TokenBatch(
        logps=logps,
        mask=completion_mask(inputs),
        advantages=inputs["advantages"],
        old_logps=old_logps,
        sampler_logps=inputs.get(SAMPLED, logps.detach() if old_logps is None else old_logps),
        ref_logps=inputs.get("ref_per_token_logps"),
        entropy=entropy,
        uids=inputs.get(f"{KEY}uids"),
        tokens=tokens_per_micro_batch(trainer, inputs),
        extra=extra,
        **fields,
    )
