"""What a teacher and the selection of tokens do to entropy, exactly."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import entropies
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.divergences import DIVERGENCES
from entropostat.rl.objective import Objective
from entropostat.rl.vocab_teacher import Side, teacher_divergences

EYE = torch.eye(5, dtype=torch.float64)
LOGITS = torch.tensor([0.9, 0.2, -0.3, -1.1, 0.4], dtype=torch.float64)


def gradient(logits: Tensor, teacher: Tensor, options: dict, weights: list | None = None) -> Tensor:
    """Of the whole objective with respect to the logits of (S, V) states, each visited once."""
    spec = {"loss": ("none", "none", {}), "penalties": [("distill", "distill", options)], "weights": weights or []}
    o = Objective.build(spec)
    z = logits.clone().requires_grad_()
    wanted = o.vocabulary(o.needs)
    assert wanted is not None
    found = teacher_divergences(Side(z, EYE), Side(teacher, EYE), wanted.comparisons)
    states = torch.zeros(1, len(logits), dtype=torch.float64)
    batch = TokenBatch(
        logps=states,
        mask=states + 1,
        advantages=states[:, 0],
        entropy=entropies(z).unsqueeze(0),
        to_teacher={c.key: x.unsqueeze(0) for c, x in zip(wanted.comparisons, found, strict=True)},
    )
    return torch.autograd.grad(o.token_loss(batch)[0].mean(), z)[0]


@pytest.mark.parametrize("name", DIVERGENCES)
def test_a_flat_teacher_raises_entropy_and_a_sure_one_lowers_it(name):
    for teacher, sign in ((0 * LOGITS, 1), (2 * LOGITS, -1)):
        step = gradient(LOGITS[None], teacher[None], {"divergence": name})[0]
        assert torch.sign(entropies(LOGITS - 1e-4 * step) - entropies(LOGITS)) == sign


def states() -> tuple[Tensor, Tensor]:
    """Sure and wrong, sure and right, unsure and wrong, unsure and right."""
    sure, unsure = torch.tensor([6.0, 0, 0, 0, 0]).double(), torch.tensor([0.4, 0.1, 0, 0, 0]).double()
    other = torch.tensor([0, 5.0, 0, 0, 0]).double()
    return torch.stack([sure, 0.8 * sure, unsure, unsure]), torch.stack([other, 0.9 * sure, other, 0.9 * unsure])


@pytest.mark.parametrize(
    ("select", "moved"),
    [("entropy_topk", {2, 3}), ("divergence", {0, 2}), ("soft_or", {0, 2}), ("q3_median", {0})],
)
def test_tip_moves_the_states_it_selects_twice_as_far_and_stops_the_others(select, moved):
    logits, teacher = states()
    plain = gradient(logits, teacher, {})
    tip = [("tip", "tip", {"select": select, "scope": "micro"})]
    found = gradient(logits, teacher, {}, tip)
    for state in range(4):
        expected = plain[state] * (4 / len(moved) if state in moved else 0)
        torch.testing.assert_close(found[state], expected)
    assert plain.abs().sum(1).min() > 1e-6
    untouched = gradient(logits, teacher, {"weighted": False}, tip)
    torch.testing.assert_close(untouched, plain)


def test_q3_takes_the_sure_and_wrong_state_first():
    logits, teacher = states()
    tip = [("tip", "tip", {"select": "q3", "ratio": 0.25, "scope": "micro"})]
    found = gradient(logits, teacher, {}, tip)
    assert found.abs().sum(1).nonzero().flatten().tolist() == [0]
