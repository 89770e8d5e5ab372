"""The loss of prime-rl: its ``[trainer.loss]`` block names this function, and hands the objective over in ``kwargs``.

    [trainer.loss]
    type = "custom"
    import_path = "entropostat.client.prime_rl.loss"
    kwargs = { objective = { loss = "ppo_clip", penalties = [{ kl_cov = { scope = "micro" } }] } }

prime-rl calls it once a sequence and divides the sum by the tokens of all ranks itself. It shows no other sequence, no step and no
entropy, and brings its own advantages: what reads any of these is refused by name when the first sequence comes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from entropostat.client.normaliser import BY_TOKENS
from entropostat.client.refusals import check_gives, refusals, slotted
from entropostat.recipe.objective import as_control
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.rl.term import Penalty, Scoped

MAY_GIVE = ("ref_logps",)
"""Batch fields that some of its algorithms bring."""

OF_OTHERS = frozenset({"rewards", "unshaped", "groups"})
"""Batch fields of every loop that this one has elsewhere."""


class Inputs(Protocol):
    """prime-rl's ``LossInputs``: of one sequence, each (T,)."""

    trainer_logprobs: Tensor
    inference_logprobs: Tensor
    ref_logprobs: Tensor | None
    advantages: Tensor
    loss_mask: Tensor
    loss_weights: Tensor | None


class Outputs(NamedTuple):
    """As prime-rl reads its ``LossOutputs``."""

    loss: Tensor
    """0-dim: a sum over the tokens of the sequence."""
    metrics: dict[str, Tensor]


def loss(inputs: Inputs, *, objective: Any, gives: Iterable[str] = ()) -> Outputs:
    """``objective``: a recipe's path, or the block as a mapping. ``gives``: ["ref_logps"] where the algorithm scores a reference."""
    made, promised = _made(json.dumps(objective, default=str), tuple(gives))
    if "ref_logps" in promised and inputs.ref_logprobs is None:
        raise ValueError(
            "gives: ref_logps is promised, and inputs.ref_logprobs is None; take an algorithm with a reference"
        )
    mask = inputs.loss_mask.unsqueeze(0)
    logps = _row(inputs.trainer_logprobs, mask)
    old = _row(inputs.inference_logprobs.detach(), mask)
    batch = TokenBatch(
        logps=logps,
        mask=mask.to(logps.dtype),
        advantages=_row(inputs.advantages.detach(), mask),
        old_logps=old,
        sampler_logps=old,
        ref_logps=_row(inputs.ref_logprobs.detach(), mask) if inputs.ref_logprobs is not None else None,
        tokens=mask.sum().to(logps.dtype),
        uids=torch.zeros(1, dtype=torch.int64, device=logps.device),
        clip=made.loss.term.clip,
    )
    tokens, metrics = made.token_loss(batch)
    if inputs.loss_weights is not None:
        tokens = tokens * inputs.loss_weights.unsqueeze(0)
    return Outputs(tokens.masked_fill(~mask, 0.0).sum(), {name: value + 0 for name, value in metrics.items()})


@cache
def _made(objective: str, gives: tuple[str, ...]) -> tuple[Objective, frozenset[str]]:
    control, promised = as_control(json.loads(objective)), check_gives(gives)
    for name in sorted(promised - set(MAY_GIVE)):
        raise ValueError(f"gives: prime-rl hands no {name} to a loss; it knows {', '.join(MAY_GIVE)}")
    if problems := [*refusals(control, promised, 1, None), *_beyond(control)]:
        raise ValueError("\n".join(problems))
    return control.template, promised


def _beyond(control: Control) -> Iterator[str]:
    """What a batch could carry and a sequence alone cannot."""
    objective = control.template
    for knob in control.knobs:
        yield f"objective.{knob.path}: takes a number; prime-rl tells a loss of no step by which a controller could move"
    for slot, part in slotted(objective):
        where = f"objective.{slot}.{part.name}"
        if slot in ("rewards", "advantages"):
            yield f"{where}: lacks the other completions; prime-rl computes advantages in its orchestrator"
        elif others := sorted((part.needs | part.rollout_needs) & OF_OTHERS):
            yield f"{where}: lacks {', '.join(others)}, which prime-rl does not hand to a loss"
        elif isinstance(part.term, Scoped) and part.term.prepared not in ("never", "micro"):
            yield f"{where}: its scope {part.term.prepared} lacks the other sequences; set scope: micro, where it has it"
        elif isinstance(part.term, Penalty) and part.term.kind == "scalar":
            yield f"{where}: has a mean of its own, over sequences that prime-rl does not show"
    kind = objective.loss.term.aggregation
    if kind not in BY_TOKENS:
        yield (
            f"objective.loss.{objective.loss.name}.type: {kind} averages by completion or micro-batch, and prime-rl divides the sum "
            "over tokens by all tokens; set type: dapo"
        )


def _row(x: Tensor, mask: Tensor) -> Tensor:
    """(T,) -> (1, T), exactly 0 where the mask is."""
    x = x.unsqueeze(0)
    return x.to(torch.promote_types(x.dtype, torch.float32)).masked_fill(~mask, 0.0)
