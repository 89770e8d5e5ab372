"""The gradient of log-prob and entropy in one recomputation, against the dense softmax."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from unit.test_rl_vocab import HEADS, case, dense

from entropostat.rl.vocab import Wanted
from entropostat.rl.vocab_gradient import Scored, gradients
from entropostat.rl.vocab_tiles import Head, Tiles

SLOPES = [(True, True), (True, False), (False, True)]


def dense_gradients(hidden, weight, bias, labels, head, of_logp, of_entropy):
    """log Z, the entropy, and the gradients of all three."""
    values = dense(hidden, weight, bias, labels, Wanted(("logp", "entropy")), head)
    pairs = [(values["logp"], of_logp), (values["entropy"], of_entropy)]
    total = sum((value * slope).sum() for value, slope in pairs if slope is not None)
    log_z = values["logit"] / head.temperature - values["logp"]
    inputs = [x for x in (hidden, weight, bias) if x is not None]
    return log_z.detach(), values["entropy"].detach(), torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("slopes", SLOPES)
@pytest.mark.parametrize("head", HEADS)
def test_it_is_that_of_the_dense_softmax_in_double_precision(head, slopes) -> None:
    *inputs, labels = case(tokens=13, width=5, vocabulary=71)
    draw = torch.Generator().manual_seed(1)
    of = [torch.randn(13, generator=draw, dtype=torch.float64) if wanted else None for wanted in slopes]
    log_z, entropy, expected = dense_gradients(*inputs, labels, head, *of)
    hidden, weight, bias = (x.detach() for x in inputs)
    scored = Scored.of(hidden, labels, log_z, entropy, *of)
    for tiles in (Tiles(5, 16), Tiles(100, 100)):
        found = gradients(scored, weight, bias, head, torch.float64, tiles=tiles)
        for got, want in zip(found, expected, strict=True):
            torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)


def test_tokens_that_the_loss_does_not_push_are_left_out_whatever_lies_in_them() -> None:
    *inputs, labels = case(tokens=9)
    hidden, weight, _ = (x.detach() for x in inputs)
    of_logp = torch.tensor([1.0, 0, 0, -2, 0, 0, 0.5, 0, 0], dtype=torch.float64)
    of_entropy = torch.tensor([0.0, 0, 0.3, 1, 0, 0, 0, 0, 0], dtype=torch.float64)
    log_z, entropy, (d_hidden, d_weight) = dense_gradients(hidden.requires_grad_(), weight.requires_grad_(), None, labels, Head(), of_logp, of_entropy)  # fmt: skip
    hidden = hidden.detach().clone()
    hidden[1] = torch.nan
    scored = Scored.of(hidden, labels, log_z, entropy, of_logp, of_entropy)
    rows = scored.pushed()
    assert rows.tolist() == [0, 2, 3, 6]
    found = gradients(scored.at(rows), weight.detach(), None, Head(), torch.float64)
    torch.testing.assert_close(found[0], d_hidden[rows], rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(found[1], d_weight, rtol=1e-10, atol=1e-10)
    assert found[2] is None


def test_a_slope_that_is_no_number_is_pushed_on() -> None:
    """The guard judges the gradient: it must see it."""
    *inputs, labels = case(tokens=4)
    hidden, weight, _ = (x.detach() for x in inputs)
    of_logp = torch.tensor([0.0, torch.nan, 0, 0], dtype=torch.float64)
    scored = Scored.of(hidden, labels, torch.ones(4), torch.ones(4), of_logp, None)
    assert scored.pushed().tolist() == [1]
    assert gradients(scored.at(scored.pushed()), weight, None, Head(), torch.float64)[1].isnan().any()


def test_without_a_token_the_gradients_are_zero_and_only_those_needed_are_made() -> None:
    *inputs, labels = case(tokens=4)
    hidden, weight, bias = (x.detach() for x in inputs)
    zero = torch.zeros(4, dtype=torch.float64)
    scored = Scored.of(hidden, labels, zero, zero, zero, None)
    none = scored.at(scored.pushed())
    found = gradients(none, weight, bias, Head(), torch.float64)
    assert [tuple(x.shape) for x in found] == [(0, 5), (71, 5), (71,)]
    assert not any(x.any() for x in found)
    assert [x is None for x in gradients(none, weight, bias, Head(), torch.float64, (True, False, False))] == [
        False,
        True,
        True,
    ]


def test_a_forbidden_token_is_no_infinity() -> None:
    *inputs, labels = case(tokens=6)
    hidden, weight, bias = inputs
    labels = labels.clamp(min=1)
    shut = bias.detach().clone()
    shut[0] = -torch.inf
    wide = replace(HEADS[0], temperature=0.7)
    one = torch.ones(6, dtype=torch.float64)
    far = bias.detach().clone()
    far[0] = -1e4
    log_z, entropy, expected = dense_gradients(hidden, weight, far.requires_grad_(), labels, wide, one, one)
    scored = Scored.of(hidden.detach(), labels, log_z, entropy, one, one)
    found = gradients(scored, weight.detach(), shut, wide, torch.float64)
    for got, want in zip(found, expected, strict=True):
        torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-10)
