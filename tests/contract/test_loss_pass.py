"""Our parts of a micro-batch's loss add up, each on the scale of TRL's, whatever stands beside it."""

from __future__ import annotations

from itertools import combinations
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from unit.rl_support import batch_of, with_leaves

from entropostat.rl.objective import Objective
from entropostat.trainers.trl.loss_pass import LossPass, additive_terms

PENALTIES: dict[str, tuple[str, dict[str, Any]]] = {
    "near": ("kl_ref", {"coef": 0.5}),
    "far": ("kl_ref", {"coef": 0.2, "divergence": "jsd"}),
    "bonus": ("entropy_bonus", {"coef": 0.3}),
    "mean": ("entropy_bonus", {"coef": 0.7, "reduction": "trl"}),
}
"""Two that give a value for each token, and two that give one in all."""
SCALARS = ("bonus", "mean")


def objective(*names: str, loss: str = "trl") -> Objective:
    return Objective.build({"loss": (loss, loss, {}), "penalties": [(name, *PENALTIES[name]) for name in names]})


def trainer(training: bool = True, steps: int = 1) -> Any:
    return SimpleNamespace(
        model=SimpleNamespace(training=training), current_gradient_accumulation_steps=steps, loss_type="dapo"
    )


def passing(
    of: Objective, weight: Tensor | None = None, rho: Tensor | None = None, **settings: Any
) -> tuple[Any, LossPass]:
    """The sum, and what the pass has noted on the way."""
    batch = with_leaves(batch_of(3))
    inputs = {"completion_mask": batch.mask}
    inputs |= {} if rho is None else {"importance_sampling_ratio": rho}
    passed = LossPass(inputs)
    passed.batch, passed.weight = batch, weight
    total = additive_terms(trainer(**settings), of, inputs, passed)
    return None if total is None else total.detach(), passed


@pytest.mark.parametrize("loss", ["trl", "ppo_clip"])
@pytest.mark.parametrize("names", [c for n in range(len(PENALTIES) + 1) for c in combinations(PENALTIES, n)], ids=str)
def test_the_sum_is_that_of_each_part_alone(names: tuple[str, ...], loss: str) -> None:
    total, passed = passing(objective(*names, loss=loss))
    alone = [float(passing(objective(name))[0]) for name in names]
    alone += [] if loss == "trl" else [float(passing(objective(loss=loss))[0])]
    assert (total is None) is (not alone)
    assert total is None or (float(total) == pytest.approx(sum(alone), rel=1e-9) and all(alone))
    own = [] if loss == "trl" else [loss]
    assert list(passed.parts) == [*own, *names]
    assert list(passed.suspects) == [*(f"loss.{name}" for name in own), *(f"penalties.{name}" for name in names)]
    assert {key.split("/")[0] for key in passed.metrics} == {*own, *names}
    assert all(part.dim() == (0 if name in SCALARS else 2) for name, part in passed.parts.items())


@pytest.mark.parametrize("name", [*PENALTIES, None])
def test_each_part_is_shared_out_over_the_micro_batches_of_a_step_and_not_over_those_of_an_evaluation(
    name: Any,
) -> None:
    of = objective(name) if name else objective(loss="ppo_clip")
    once, twice, evaluated = (passing(of, **s)[0] for s in ({}, {"steps": 2}, {"steps": 2, "training": False}))
    assert float(twice) == pytest.approx(float(once) / 2) and float(evaluated) == float(once) != 0


def test_the_policy_loss_carries_the_weights_and_the_samplers_correction() -> None:
    of, batch = objective(loss="ppo_clip"), batch_of(3)
    weight, rho = (torch.rand(batch.logps.shape, generator=torch.Generator().manual_seed(i)).double() for i in (1, 2))
    _, plain = passing(of)
    for given, factor in (((weight, None), weight), ((None, rho), rho), ((weight, rho), weight * rho)):
        _, passed = passing(of, *given)
        torch.testing.assert_close(passed.parts["ppo_clip"], plain.parts["ppo_clip"] * factor)
    total, passed = passing(of, weight, rho)
    expected = (passed.parts["ppo_clip"].detach() * batch.mask).sum() / batch.mask.sum()
    torch.testing.assert_close(total, expected)


def test_penalties_of_the_policy_carry_the_correction_and_others_do_not() -> None:
    rho = torch.full(batch_of(3).logps.shape, 0.5, dtype=torch.float64)
    of = Objective.build(
        {
            "loss": ("trl", "trl", {}),
            "penalties": [("near", *PENALTIES["near"]), ("cov", "kl_cov", {"fraction": 0.3, "scope": "micro"})],
        }
    )
    _, plain = passing(of)
    _, corrected = passing(of, rho=rho)
    torch.testing.assert_close(corrected.parts["near"], plain.parts["near"])
    torch.testing.assert_close(corrected.parts["cov"], plain.parts["cov"] * 0.5)
    assert plain.parts["cov"].abs().sum() > 0
