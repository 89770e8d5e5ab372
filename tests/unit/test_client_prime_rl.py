"""prime-rl's custom loss: one sequence a call, and only what one sequence can carry."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

import pytest
import torch
from torch import Tensor
from unit.client_support import handed, whole
from unit.rl_support import ALL, label, near
from unit.test_client_terms import Setting, spec_of

from entropostat.client import ClientLoss
from entropostat.client.prime_rl import loss
from entropostat.rl.loss_types import CLIPPED
from entropostat.rl.objective import Objective
from entropostat.rl.term import ScalarPenalty, Scoped

SPEC = {"loss": "ppo_clip", "weights": ["off_policy_mask"], "penalties": [{"kl_ref": {"coef": 0.3}}]}


@dataclass
class LossInputs:
    """prime-rl's."""

    trainer_logprobs: Tensor
    inference_logprobs: Tensor
    ref_logprobs: Tensor | None
    advantages: Tensor
    loss_mask: Tensor
    loss_weights: Tensor | None = None


def inputs_of(seed: int) -> list[LossInputs]:
    given = handed(whole(seed), ("ref_logps",), advantages=True)
    return [
        LossInputs(
            row, s.old_logps, s.ref_logps, torch.full((len(row),), s.advantages, dtype=torch.float64), s.mask.bool()
        )
        for s, row in zip(given.samples, given.logprobs, strict=True)
    ]


def scaled(inputs: list[LossInputs], **kwargs: Any) -> Tensor:
    """As prime-rl puts its sequences together: a function by its path, an anchor for the graph, and all tokens as the divisor."""
    module, _, name = "entropostat.client.prime_rl.loss".rpartition(".")
    function = getattr(import_module(module), name)
    done = [function(one, **kwargs) for one in inputs]
    for name in done[0].metrics:
        torch.stack([out.metrics[name] for out in done])
    anchor = inputs[0].trainer_logprobs.sum() * 0.0
    return (anchor + torch.stack([out.loss for out in done]).sum()) / sum(int(one.loss_mask.sum()) for one in inputs)


def test_its_sum_over_sequences_is_the_loss_of_the_batch() -> None:
    inputs, given = inputs_of(3), handed(whole(3), ("ref_logps",), advantages=True)
    value = scaled(inputs, objective=SPEC, gives=["ref_logps"])
    want, _ = ClientLoss(SPEC, gives=["ref_logps"])(given.samples, given.logprobs)
    value.backward(), want.backward()
    near(value, want, 1e-10)
    for one, row in zip(inputs, given.logprobs, strict=True):
        near(one.trainer_logprobs.grad, row.grad, 1e-10)
    assert any(row.grad.any() for row in given.logprobs)


def test_weights_of_its_components_multiply_the_loss_of_a_token() -> None:
    inputs = inputs_of(4)
    for one in inputs:
        one.loss_weights = torch.full_like(one.advantages, 3.0)
    near(
        scaled(inputs, objective=SPEC, gives=["ref_logps"]),
        3 * scaled(inputs_of(4), objective=SPEC, gives=["ref_logps"]),
        1e-12,
    )


def test_a_sequence_without_a_token_costs_nothing() -> None:
    (one, *_) = inputs_of(5)
    one.loss_mask = torch.zeros_like(one.loss_mask)
    out = loss(one, objective={"loss": "ppo_clip"})
    out.loss.backward()
    assert out.loss == 0 and not one.trainer_logprobs.grad.any()


def carried(setting: Setting) -> bool:
    """By what the terms declare."""
    o = Objective.build({**spec_of(setting), "advantages": []})
    scoped = [part.term for part in (*o.weights, o.loss, *o.penalties) if isinstance(part.term, Scoped)]
    read = {name for part in (*o.weights, o.loss, *o.penalties) for name in part.needs | part.rollout_needs}
    return (
        setting[0] in ("weights", "loss", "penalties")
        and all(term.prepared in ("never", "micro") for term in scoped)
        and not any(isinstance(term, ScalarPenalty) or getattr(term, "moves_reference", False) for term in scoped)
        and o.loss.term.aggregation in ("dapo", "cispo", "vespo")
        and not (setting[0] == "weights" and scoped[0].corrects_sampler)
        and read <= {"old_logps", "sampler_logps", "ref_logps"}
    )


@pytest.mark.parametrize("setting", ALL, ids=label)
def test_a_term_runs_on_one_sequence_or_is_refused_in_lines_that_name_it(setting: Setting) -> None:
    slot, kind, options = setting
    spec: dict[str, Any] = {"loss": "unclipped"}
    spec |= {slot: {kind: options} if slot == "loss" else [{kind: options}]}
    inputs = inputs_of(6)
    if carried(setting):
        value = scaled(inputs, objective=spec, gives=["ref_logps"])
        value.backward()
        slopes = [one.trainer_logprobs.grad for one in inputs if one.trainer_logprobs.grad is not None]
        assert torch.isfinite(value) and all(torch.isfinite(slope).all() for slope in slopes)
        assert len(slopes) == len(inputs) or kind == "none"
        return
    with pytest.raises(ValueError) as error:
        loss(inputs[0], objective=spec, gives=["ref_logps"])
    assert all(f"objective.{slot}.{kind}" in line for line in str(error.value).splitlines()), error.value


@pytest.mark.parametrize("kind", [kind for kind in CLIPPED if kind != "dapo"])
def test_a_normaliser_that_prime_rl_does_not_have_is_refused(kind: str) -> None:
    with pytest.raises(ValueError, match=r"ppo_clip\.type: .* set type: dapo"):
        loss(inputs_of(7)[0], objective={"loss": {"ppo_clip": {"type": kind}}})


def test_controllers_and_promises_that_it_cannot_keep_are_refused() -> None:
    (one, *_) = inputs_of(8)
    knob = {"adaptive_kl": {"signal": "kl_old", "target": 0.1, "samples": 8}}
    with pytest.raises(
        ValueError, match=r"objective\.penalties\.kl_cov\.coef: takes a number; prime-rl tells a loss of no step"
    ):
        loss(one, objective={"loss": "ppo_clip", "penalties": [{"kl_cov": {"scope": "micro", "coef": knob}}]})
    with pytest.raises(ValueError, match=r"entropy_bonus: has a mean of its own, over sequences"):
        loss(one, objective={"loss": "ppo_clip", "penalties": ["entropy_bonus"]})
    with pytest.raises(ValueError, match="prime-rl hands no entropy to a loss"):
        loss(one, objective={"loss": "ppo_clip"}, gives=["entropy"])
    one.ref_logprobs = None
    with pytest.raises(ValueError, match=r"inputs\.ref_logprobs is None"):
        loss(one, objective=SPEC, gives=["ref_logps"])
