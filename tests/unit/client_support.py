"""A padded batch as a client's samples: ragged, with prompts in front and garbage where the mask is 0."""

from __future__ import annotations

import types
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from unit.rl_support import batch_of, rollout_view

from entropostat.client import Sample
from entropostat.client.refusals import LIVE
from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.trainers.trl.aggregation import aggregate

MAX_LENGTH = 11
TOKENS = ("old_logps", "sampler_logps", "ref_logps", "old_entropy")


class Handed(NamedTuple):
    """What a loop has."""

    samples: list[Sample]
    logprobs: list[Tensor]
    live: dict[str, list[Tensor]]


def whole(seed: int, rows: int = 6, **changes: Any) -> TokenBatch:
    """A batch whose completions begin with a token of the policy; float64."""
    batch = batch_of(seed, rows)
    mask = batch.mask.clone()
    mask[:, 0] = 1.0
    mask[2, 1:] = 0.0
    lengths = torch.where(mask.bool(), torch.arange(1, mask.size(1) + 1), 0).amax(1)
    fresh = batch_of(seed + 1, rows)
    filled = {name: torch.where(mask.bool() & ~batch.valid, getattr(fresh, name), getattr(batch, name)) * mask
              for name in ("logps", *TOKENS, *LIVE)}  # fmt: skip
    return batch.set(mask=mask, lengths=lengths, rewards=batch.unshaped, tokens=mask.sum(), **filled).set(**changes)


def handed(batch: TokenBatch, gives: Sequence[str] = (), front: int = 2, advantages: bool = False) -> Handed:
    """``front`` positions of a prompt, one more a row; the padding behind is cut off, but for one position of every second."""
    g = torch.Generator().manual_seed(1)
    samples, logprobs, live = [], [], {name: [] for name in LIVE if name in gives}

    def row(values: Tensor, i: int, ahead: int, end: int) -> Tensor:
        junk = 50 * torch.randn(ahead + end, generator=g, dtype=torch.float64)
        junk[ahead:] = torch.where(batch.valid[i, :end], values[i, :end], junk[ahead:])
        return junk

    for i in range(len(batch.mask)):
        ahead, end = front + i if front else 0, min(int(batch.lengths[i]) + i % 2, batch.mask.size(1))
        given: dict[str, Any] = {name: row(getattr(batch, name), i, ahead, end)
                                 for name in TOKENS if name == "old_logps" or name in gives}  # fmt: skip
        if advantages:
            a = batch.require("advantages")
            given["advantages"] = float(a[i]) if a.dim() == 1 else row(a, i, ahead, end)
        if "token_ids" in gives:
            given["token_ids"] = torch.cat([torch.full((ahead,), 9), batch.token_ids[i, :end]])
        if "planning" in gives:
            given["planning"] = torch.cat([torch.ones(ahead).bool(), batch.planning[i, :end]])
        if "pieces" in gives:
            given["pieces"] = [*["p"] * ahead, *batch.pieces[i][:end]]
        if "answers" in gives:
            given["answer"] = batch.answers[i]
        if "truncated" in gives:
            given["truncated"] = bool(batch.truncated[i])
        group, reward = f"prompt {int(batch.groups[i])}", float(batch.unshaped[i])
        mask = torch.cat([torch.zeros(ahead, dtype=torch.float64), batch.mask[i, :end]])
        samples.append(Sample(mask, reward=reward, group=group, uid=int(batch.uids[i]), **given))
        logprobs.append(row(batch.logps.detach(), i, ahead, end).requires_grad_())
        for name, rows in live.items():
            rows.append(row(getattr(batch, name).detach(), i, ahead, end).requires_grad_())
    return Handed(samples, logprobs, live)


def by_trainer(o: Objective, batch: TokenBatch, accumulate: int = 1) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss that trainers/ compute for this padded batch as their one micro-batch of ``accumulate``, and its gradients."""
    batch = batch.set(clip=o.loss.term.clip)
    seen = rollout_view(batch)
    if o.rewards:
        seen = seen.set(rewards=o.reward(seen, {}, learn=True).rewards)
    rollout = o.rollout(seen)
    leaves = {name: getattr(batch, name).detach().clone().requires_grad_() for name in ("logps", *LIVE)}
    live = batch.set(advantages=rollout.advantages, old_entropy=None, **leaves)
    tokens, _ = o.token_loss(live, rollout.stats)
    trainer = types.SimpleNamespace(
        model=types.SimpleNamespace(training=True),
        current_gradient_accumulation_steps=accumulate,
        loss_type=o.loss.term.aggregation,
        max_completion_length=MAX_LENGTH,
    )
    loss = aggregate(trainer, tokens, {"completion_mask": batch.mask}, batch.require("tokens"))
    for part in o.penalties:
        if part.term.kind == "scalar":
            loss = loss + o.penalty(part, live, rollout.stats)[0] / accumulate
    slopes = {name: torch.zeros_like(x) for name, x in leaves.items()}
    if loss.requires_grad:
        found = torch.autograd.grad(loss, [*leaves.values()], allow_unused=True, materialize_grads=True)
        slopes = dict(zip(leaves, found, strict=True))
    return loss.detach(), slopes


def placed(rows: Sequence[Tensor], like: TokenBatch) -> Tensor:
    """Gradients of ragged rows where the padded batch has them; those of a prompt must be nothing."""
    table = torch.zeros_like(like.mask)
    for i, row in enumerate(rows):
        grad = torch.zeros_like(row) if row.grad is None else row.grad
        end = min(int(like.lengths[i]) + i % 2, like.mask.size(1))
        assert not grad[: len(row) - end].any(), "a gradient before the first token"
        table[i, :end] = grad[len(row) - end :]
    return table


def gradients_of(given: Handed, like: TokenBatch) -> Mapping[str, Tensor]:
    return {"logps": placed(given.logprobs, like)} | {n: placed(rows, like) for n, rows in given.live.items()}
