"""How far a step moves the logits: against dense logits, over ranks, and where numbers end."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from unit.rl_support import on_ranks

from entropostat.rl.radius import Readout, change_spread, step_ratio, step_scale
from entropostat.rl.vocab_tiles import Head, Tiles

SMALL = Tiles(tokens=3, vocabulary=4)
"""More tiles than one each way, the last ones smaller."""


def readouts(tokens: int = 7, width: int = 5, vocabulary: int = 11, dtype=torch.float64) -> tuple[Readout, Readout]:
    g = torch.Generator().manual_seed(tokens)
    normal = lambda *shape: torch.randn(*shape, generator=g, dtype=torch.float64).to(dtype)
    old, new = (Readout(normal(tokens, width), normal(vocabulary, width), normal(vocabulary)) for _ in range(2))
    return old, new


def logits(readout: Readout, head: Head) -> Tensor:
    z = (readout.hidden @ readout.weight.T + (0 if readout.bias is None else readout.bias)) * head.scale
    z = z if head.softcap is None else head.softcap * torch.tanh(z / head.softcap)
    return z / head.temperature


@pytest.mark.parametrize("head", [Head(), Head(temperature=0.7), Head(0.5, 2.0, 1.3)], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_spread_is_that_of_the_dense_logits(head, bias):
    old, new = (r if bias else Readout(r.hidden, r.weight) for r in readouts())
    change = logits(new, head) - logits(old, head)
    expected = change.amax(1) - change.amin(1)
    torch.testing.assert_close(change_spread(old, new, head, SMALL), expected)


def test_a_step_that_moves_the_head_alone_is_seen():
    old, new = readouts()
    moved = Readout(old.hidden, new.weight, old.bias)
    assert (change_spread(old, moved, tiles=SMALL) > 0.1).all()
    assert not change_spread(old, old, tiles=SMALL).any()


def test_what_moves_all_logits_alike_changes_nothing():
    old, _ = readouts()
    assert change_spread(old, Readout(old.hidden, old.weight, old.bias + 5), tiles=SMALL).max() < 1e-12


def test_half_precision_is_read_in_float32():
    """A change of a thousandth beside logits of a hundred would be lost in the rounding of bfloat16."""
    hidden = torch.full((2, 4), 5.0, dtype=torch.bfloat16)
    weight = torch.ones(3, 4, dtype=torch.bfloat16) * 5
    old = Readout(hidden, weight, torch.zeros(3))
    spread = change_spread(old, Readout(hidden, weight, torch.tensor([0.0, 1e-3, 0.0])))
    assert spread.dtype == torch.float32
    torch.testing.assert_close(spread, torch.full((2,), 1e-3), rtol=0.02, atol=0.0)  # float32 has 7 digits, 100 takes 2


def test_ratio_is_the_statistic_over_pi():
    spread = torch.arange(1.0, 102.0, dtype=torch.float64)
    assert float(step_ratio(spread, "max", 0.99)) == pytest.approx(101 / math.pi)
    assert float(step_ratio(spread, "quantile", 0.99)) == pytest.approx(100 / math.pi)
    assert float(step_ratio(spread, "quantile", 0.5)) == pytest.approx(51 / math.pi)


@pytest.mark.parametrize("statistic", ["max", "quantile"])
def test_all_ranks_find_the_ratio_of_all_tokens(statistic):
    spread = torch.rand(9, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    parts = [spread[:2], spread[2:2], spread[2:]]
    ratios = on_ranks([lambda r, x=x: step_ratio(x, statistic, 0.8, r) for x in parts])
    assert {float(x) for x in ratios} == {float(step_ratio(spread, statistic, 0.8))}


@pytest.mark.parametrize("statistic", ["max", "quantile"])
@pytest.mark.parametrize("values", [[], [0.0], [math.nan], [math.inf, math.inf, 1.0], [math.nan, 1.0, 2.0]])
def test_scale_is_a_number_whatever_the_step_did(statistic, values):
    ratio = float(step_ratio(torch.tensor(values), statistic, 0.99))
    assert not math.isnan(ratio)
    assert step_scale(ratio, 1.0) == (1.0 if values in ([], [0.0]) else 0.0)


def test_weights_that_are_no_numbers_stop_the_step():
    old, new = readouts()
    for broken in (math.nan, math.inf, -math.inf):
        hidden = new.hidden.clone()
        hidden[0, 0] = broken
        spread = change_spread(old, Readout(hidden, new.weight, new.bias), tiles=SMALL)
        assert step_scale(float(step_ratio(spread, "max", 1.0)), 1.0) < 1e-15


@pytest.mark.parametrize("target", [0.5, 1.0, 4.0])
def test_scale_brings_the_ratio_to_its_target(target):
    assert step_scale(0.9 * target, target) == 1.0
    assert step_scale(target, target) == 1.0
    assert step_scale(8.0, target) * 8.0 == pytest.approx(target)
