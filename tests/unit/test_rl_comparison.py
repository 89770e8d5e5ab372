"""Exact divergences from a teacher: in tiles, against the dense computation, its autograd, and torch.distributions."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from unit.test_rl_vocab import HEADS, case

from entropostat.rl.comparison import CLAMPED, Comparison
from entropostat.rl.divergences import DIVERGENCES, divergence
from entropostat.rl.vocab import Head, Tiles
from entropostat.rl.vocab_teacher import Side, teacher_divergences

TILES = [Tiles(4, 9), Tiles(7, 71), Tiles(1, 1), Tiles(64, 512)]
KINDS = [Comparison(name) for name in DIVERGENCES]
KINDS += [Comparison("jsd", beta=0.3), Comparison("jsd", beta=0.9), Comparison("alpha", alpha=0.2)]
KINDS += [Comparison(name, top_k=5) for name in DIVERGENCES] + [Comparison("reverse_kl", top_k=1000)]


def dense_f(c: Comparison, log_p: Tensor, log_q: Tensor) -> Tensor:
    """sum q f(p / q), written from the definitions."""
    p, q = log_p.exp(), log_q.exp()
    kl = lambda a, b: (a.exp() * (a - b)).sum(-1)
    mix = lambda beta: (beta * q + (1 - beta) * p).log()
    return {
        "reverse_kl": lambda: kl(log_p, log_q),
        "forward_kl": lambda: kl(log_q, log_p),
        "jeffreys": lambda: kl(log_p, log_q) + kl(log_q, log_p),
        "jsd": lambda: c.beta * kl(log_q, mix(c.beta)) + (1 - c.beta) * kl(log_p, mix(c.beta)),
        "js": lambda: kl(log_q, mix(0.5)) + kl(log_p, mix(0.5)),
        "tv": lambda: (p - q).abs().sum(-1) / 2,
        "hellinger2": lambda: (p.sqrt() - q.sqrt()).square().sum(-1),
        "chi2_pi_ref": lambda: ((p - q).square() / q).sum(-1),
        "chi2_ref_pi": lambda: ((p - q).square() / p).sum(-1),
        "alpha": lambda: ((q**c.alpha * p ** (1 - c.alpha)).sum(-1) - 1) / (c.alpha * (c.alpha - 1)),
    }[c.divergence]()


def logits(hidden: Tensor, weight: Tensor, bias: Tensor | None, head: Head) -> Tensor:
    y = head.scale * (hidden @ weight.T + (0 if bias is None else bias))
    z = y if head.softcap is None else head.softcap * torch.tanh(y / head.softcap)
    return z / head.temperature


def dense(c: Comparison, x: Tensor, y: Tensor) -> Tensor:
    width = min(x.shape[1], y.shape[1])
    x, y = x[:, :width], y[:, :width]
    if c.top_k is not None and c.top_k < width:
        places = y.topk(c.top_k).indices
        x, y = x.gather(1, places), y.gather(1, places)
    return dense_f(c, x.log_softmax(-1), y.log_softmax(-1))


def teacher_of(tokens: int, width: int = 71, dtype: torch.dtype = torch.float64, head: Head | None = None) -> Side:
    """Another width of hidden states than the student's, and no bias."""
    draw = torch.Generator().manual_seed(5)
    hidden = torch.randn(tokens, 11, generator=draw, dtype=torch.float64).to(dtype)
    weight = torch.randn(width, 11, generator=draw, dtype=torch.float64).to(dtype)
    return Side(hidden, weight, None, head or Head())


@pytest.mark.parametrize(("head", "tiles"), list(zip(HEADS, TILES, strict=True)), ids=str)
def test_every_divergence_and_its_gradients_equal_the_dense_ones(head: Head, tiles: Tiles) -> None:
    hidden, weight, bias, _ = case()
    teacher = teacher_of(len(hidden), head=Head(temperature=1.3))
    found = teacher_divergences(Side(hidden, weight, bias, head), teacher, tuple(KINDS), tiles)
    y = logits(teacher.hidden, teacher.weight, None, teacher.head)
    slope = torch.linspace(-1, 2, len(hidden), dtype=torch.float64)
    for c, value in zip(KINDS, found, strict=True):
        want = dense(c, logits(hidden, weight, bias, head), y)
        torch.testing.assert_close(value, want, rtol=1e-10, atol=1e-12, msg=lambda m, c=c: f"{c.key}: {m}")
        exact = torch.autograd.grad(want, (hidden, weight, bias), slope)
        mine = torch.autograd.grad(value, (hidden, weight, bias), slope, retain_graph=True)
        for a, b in zip(mine, exact, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-8, atol=1e-10, msg=lambda m, c=c: f"{c.key}: {m}")
            assert b.abs().max() > 1e-6


def test_the_gradient_of_several_at_once_is_the_sum_of_theirs() -> None:
    hidden, weight, bias, _ = case()
    teacher = teacher_of(len(hidden))
    pair = (Comparison("forward_kl"), Comparison("jsd", top_k=4))
    first, second = teacher_divergences(Side(hidden, weight, bias), teacher, pair, Tiles(4, 9))
    both = torch.autograd.grad((first + 3 * second).sum(), hidden, retain_graph=True)[0]
    alone = [torch.autograd.grad(x.sum(), hidden, retain_graph=True)[0] for x in (first, second)]
    torch.testing.assert_close(both, alone[0] + 3 * alone[1])


def test_float32_stays_near_float64() -> None:
    *leaves, _ = case(dtype=torch.float32)
    teacher = teacher_of(len(leaves[0]), dtype=torch.float32)
    wide = [x.detach().double().requires_grad_() for x in leaves]
    widened = replace(teacher, hidden=teacher.hidden.double(), weight=teacher.weight.double())
    kinds = tuple(c for c in KINDS if not c.divergence.startswith("chi2"))
    found = teacher_divergences(Side(*leaves), teacher, kinds, Tiles(4, 9))
    exact = teacher_divergences(Side(*wide), widened, kinds, Tiles(4, 9))
    for a, b in zip(found, exact, strict=True):
        torch.testing.assert_close(a.double(), b, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("width", [60, 80])
def test_entries_beyond_the_smaller_head_do_not_count_and_get_no_gradient(width: int) -> None:
    hidden, weight, bias, _ = case()
    teacher = teacher_of(len(hidden), width)
    (found,) = teacher_divergences(Side(hidden, weight, bias), teacher, (Comparison(),), Tiles(4, 9))
    want = dense(Comparison(), logits(hidden, weight, bias, Head()), teacher.hidden @ teacher.weight.T)
    torch.testing.assert_close(found, want)
    slope = torch.autograd.grad(found.sum(), weight)[0]
    assert slope.shape == weight.shape and (slope[60:] == 0).all().item() is (width == 60)


@pytest.mark.parametrize("c", KINDS, ids=lambda c: c.key)
def test_it_is_zero_with_no_gradient_at_the_teacher_and_positive_elsewhere(c: Comparison) -> None:
    hidden, weight, bias, _ = case()
    twin = Side(hidden.detach(), weight.detach(), bias.detach())
    (same,) = teacher_divergences(Side(hidden, weight, bias), twin, (c,), Tiles(4, 9))
    assert same.abs().max() < 1e-12
    assert torch.autograd.grad(same.sum(), hidden)[0].abs().max() < 1e-9
    (other,) = teacher_divergences(Side(hidden, weight, bias), teacher_of(len(hidden)), (c,), Tiles(4, 9))
    assert (other > 1e-6).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("c", KINDS, ids=lambda c: c.key)
def test_tokens_that_one_of_the_two_forbids_leave_all_finite(c: Comparison, dtype: torch.dtype) -> None:
    hidden, weight = torch.eye(6, dtype=dtype), torch.eye(6, dtype=dtype) * 40
    bias = torch.tensor([0, 0, -math.inf, -1e30, 200, 0], dtype=dtype)
    mine = [x.requires_grad_() for x in (hidden, weight)]
    teacher = Side(hidden.detach().flip(0), weight.detach(), bias.flip(0))
    (found,) = teacher_divergences(Side(*mine, bias), teacher, (c,), Tiles(4, 4))
    assert found.isfinite().all() and (found >= 0).all()
    assert all(g.isfinite().all() for g in torch.autograd.grad(found.sum(), mine))


@pytest.mark.parametrize("name", CLAMPED)
def test_beyond_the_clamp_the_gradient_is_still_that_of_the_value(name: str) -> None:
    c = Comparison(name, clamp=1.0)
    y = torch.randn(3, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64) * 3
    x = torch.randn(3, 9, generator=torch.Generator().manual_seed(3), dtype=torch.float64).requires_grad_()
    eye = torch.eye(9, dtype=torch.float64)
    log_p, log_q = x.log_softmax(1), y.log_softmax(1)
    assert ((log_p - log_q).abs() > 1).any() and ((log_p - log_q).abs() < 1).any()
    torch.autograd.gradcheck(
        lambda x: teacher_divergences(Side(x, eye), Side(y, eye), (c,), Tiles(2, 4))[0], (x,), atol=1e-6
    )


@pytest.mark.parametrize("name", DIVERGENCES)
def test_it_is_the_expectation_of_the_estimator_on_sampled_tokens(name: str) -> None:
    draw = torch.Generator().manual_seed(4)
    x, y = (torch.randn(5, 9, generator=draw, dtype=torch.float64).log_softmax(1) for _ in range(2))
    expected = (x.exp() * divergence(name).k(x - y)).sum(1)
    value, _ = Comparison(name).pointwise(x, y)
    torch.testing.assert_close(value.sum(1), expected)


def test_comparisons_that_mean_the_same_have_one_key() -> None:
    assert Comparison("forward_kl", alpha=0.1).key == Comparison("forward_kl").key
    assert Comparison("tv", clamp=1.0).key == Comparison("tv").key
    assert len({c.key for c in KINDS}) == len(KINDS)
    for c in (Comparison("jsd", beta=0.2), Comparison("alpha", alpha=0.2), Comparison("tv", top_k=3)):
        assert c.key != replace(c, beta=0.5, alpha=0.5, top_k=None).key


@pytest.mark.parametrize("bad", [{"divergence": "kl"}, {"alpha": 0.0}, {"beta": 1.0}, {"top_k": 0}])
def test_a_comparison_that_means_nothing_is_refused(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad)) if "divergence" not in bad else "no divergence"):
        Comparison(**bad)
