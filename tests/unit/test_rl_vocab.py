"""Every statistic of the vocabulary pass and its gradient, against the dense computation."""

from __future__ import annotations

import math
from contextlib import contextmanager
from dataclasses import replace

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from entropostat.rl.vocab import OUTPUTS, Head, Tiles, Wanted, packed, unpacked, vocab_statistics

TEMPERATURES = (0.5, 1.0, 2.5)
EVERYTHING = Wanted(OUTPUTS, TEMPERATURES, min_p=0.4, top_p=0.6, top_k=60)
HEADS = [
    Head(),
    Head(scale=0.7, temperature=1.3),
    Head(softcap=3.0),
    Head(scale=1.7, softcap=2.0, temperature=0.6),
]
TOLERANCE = {torch.float64: {"rtol": 1e-10, "atol": 1e-11}, torch.float32: {"rtol": 1e-5, "atol": 1e-5}}


def case(tokens=13, width=5, vocabulary=71, dtype=torch.float64, size=1.0, seed=0):
    draw = torch.Generator().manual_seed(seed)
    hidden = size * torch.randn(tokens, width, generator=draw, dtype=torch.float64)
    weight = torch.randn(vocabulary, width, generator=draw, dtype=torch.float64)
    bias = torch.randn(vocabulary, generator=draw, dtype=torch.float64)
    labels = torch.randint(vocabulary, (tokens,), generator=draw)
    return *(x.to(dtype).requires_grad_() for x in (hidden, weight, bias)), labels


def dense(hidden, weight, bias, labels, wanted, head):
    """The definitions, on all logits at once and with a full sort."""
    y = head.scale * (hidden @ weight.T + (0 if bias is None else bias))
    z = y if head.softcap is None else head.softcap * torch.tanh(y / head.softcap)
    logps = (z / head.temperature).log_softmax(-1)
    p = logps.exp()
    label = labels.unsqueeze(1)
    values = {
        "logp": logps.gather(1, label)[:, 0],
        "logit": z.gather(1, label)[:, 0],
        "entropy": -(p * logps).sum(1),
        "sum_p2": p.square().sum(1),
        "sum_p2_logp": (p.square() * logps).sum(1),
        "max_logp": logps.max(1).values,
    }
    values |= {f"lse {t}": torch.logsumexp(z / t, 1) for t in wanted.temperatures}
    if wanted.min_p is not None:
        values["min_p_mass"] = torch.where(p >= wanted.min_p * p.amax(1, keepdim=True), p, 0.0).sum(1)
    if wanted.top_p is not None:
        ordered = p.sort(1, descending=True).values
        count = (ordered.cumsum(1) < wanted.top_p).sum(1) + 1
        q = torch.where(torch.arange(p.shape[1]) < count.unsqueeze(1), ordered, 0.0)
        values["nucleus_entropy"] = torch.distributions.Categorical(probs=q).entropy()
    return values


def ours(hidden, weight, bias, labels, wanted, head, tiles):
    stats = vocab_statistics(hidden, weight, labels, wanted, bias=bias, head=head, tiles=tiles)
    named = {name: getattr(stats, name) for name in (*OUTPUTS, "min_p_mass", "nucleus_entropy")}
    named |= {f"lse {t}": x for t, x in zip(wanted.temperatures, stats.lse, strict=True)}
    return {name: x for name, x in named.items() if x is not None}, stats


@pytest.mark.parametrize("tiles", [Tiles(4, 9), Tiles(7, 71), Tiles(1, 1), Tiles(64, 512)], ids=str)
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_every_statistic_and_each_of_its_gradients_equals_the_dense_one(dtype, head, tiles):
    leaves = case(dtype=dtype)
    got, stats = ours(*leaves, EVERYTHING, head, tiles)
    exact_leaves = [x.detach().double().requires_grad_() for x in leaves[:3]]
    want = dense(*exact_leaves, leaves[3], EVERYTHING, head)
    assert stats.min_p_exact.all() and stats.nucleus_exact.all()
    assert set(got) == set(want)
    for name, value in want.items():
        torch.testing.assert_close(got[name].double(), value, **TOLERANCE[dtype], msg=lambda m, n=name: f"{n}: {m}")
        slope = torch.linspace(-1, 2, value.numel(), dtype=torch.float64)
        exact = torch.autograd.grad(value, exact_leaves, slope, retain_graph=True)
        mine = torch.autograd.grad(got[name], leaves[:3], slope.to(dtype), retain_graph=True)
        for a, b in zip(mine, exact, strict=True):
            scale = max(1.0, float(b.abs().max()))
            torch.testing.assert_close(
                a.double() / scale, b / scale, **TOLERANCE[dtype], msg=lambda m, n=name: f"{n}: {m}"
            )


@pytest.mark.parametrize("head", [HEADS[0], HEADS[3]], ids=str)
def test_the_gradients_of_all_statistics_together_agree_with_central_differences(head):
    hidden, weight, bias, labels = case(tokens=3, width=3, vocabulary=11)

    def all_of_them(hidden, weight, bias):
        return tuple(ours(hidden, weight, bias, labels, EVERYTHING, head, Tiles(2, 4))[0].values())

    assert torch.autograd.gradcheck(all_of_them, (hidden, weight, bias))


def test_tall_tiles_give_the_gradients_of_small_ones():
    leaves = case(tokens=70)
    totals = [sum(ours(*leaves, EVERYTHING, HEADS[3], t)[0].values()).sin().sum() for t in (Tiles(70, 71), Tiles(9, 8))]
    tall, small = (torch.autograd.grad(x, leaves[:3]) for x in totals)
    for a, b in zip(tall, small, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)


def test_a_gradient_reaches_only_what_asks_for_one_and_an_output_alone_costs_no_other():
    hidden, weight, bias, labels = case()
    for name in OUTPUTS:
        stats = vocab_statistics(hidden, weight.detach(), labels, Wanted((name,)), bias=bias, tiles=Tiles(4, 9))
        assert [n for n in OUTPUTS if getattr(stats, n) is not None] == [name]
        want = dense(hidden, weight.detach(), bias, labels, Wanted(()), Head())[name]
        exact = torch.autograd.grad(want.sum(), (hidden, bias))
        for a, b in zip(torch.autograd.grad(getattr(stats, name).sum(), (hidden, bias)), exact, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-11)
    assert not vocab_statistics(hidden.detach(), weight.detach(), labels, Wanted()).logp.requires_grad


def test_a_tied_weight_gets_the_gradient_of_both_uses():
    _, weight, _, labels = case()
    tokens = (labels * 7 + 3) % weight.shape[0]

    def gradient(statistics):
        hidden = torch.tanh(weight[tokens])
        return torch.autograd.grad(statistics(hidden).sum(), weight)[0]

    mine = gradient(lambda h: vocab_statistics(h, weight, labels, Wanted(), tiles=Tiles(4, 9)).entropy)
    want = gradient(lambda h: dense(h, weight, None, labels, Wanted(), Head())["entropy"])
    torch.testing.assert_close(mine, want, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_extreme_logits_and_forbidden_tokens_stay_finite_and_right(dtype):
    hidden, weight, bias, labels = case(dtype=dtype, size=1e4)
    bias = bias.detach().clone()
    bias[5:20] = -math.inf
    labels = labels.clamp(max=4)
    bias.requires_grad_()
    got, _ = ours(hidden, weight, bias, labels, EVERYTHING, Head(), Tiles(4, 9))
    sum(x.sum() for x in got.values()).backward()
    for x in (*got.values(), hidden.grad, weight.grad, bias.grad):
        assert torch.isfinite(x).all()
    assert (bias.grad[5:20] == 0).all()
    kept = [i for i in range(bias.numel()) if not 5 <= i < 20]
    inputs = [x.detach().double() for x in (hidden, weight[kept], bias[kept])]
    want = dense(*inputs, labels, EVERYTHING, Head())
    for name, value in want.items():
        torch.testing.assert_close(got[name].double(), value, rtol=1e-5, atol=1e-5 if name != "logp" else 0.05)


@pytest.mark.parametrize("tokens", [1, 0])
def test_one_token_and_none_work_in_both_passes(tokens):
    hidden, weight, bias, labels = case(tokens=tokens)
    got, stats = ours(hidden, weight, bias, labels, EVERYTHING, Head(), Tiles(4, 9))
    want = dense(hidden, weight, bias, labels, Wanted(OUTPUTS), Head())
    for name in OUTPUTS:
        torch.testing.assert_close(got[name], want[name], rtol=1e-10, atol=1e-11)
    assert stats.nucleus_exact.shape == (tokens,)
    sum(x.sum() for x in got.values()).backward()
    assert weight.grad.shape == weight.shape and bool(weight.grad.abs().sum()) is bool(tokens)


def test_uniform_logits_have_the_values_of_the_formula():
    n = 50
    stats = vocab_statistics(
        torch.zeros(2, 3), torch.ones(n, 3), torch.tensor([0, 9]), Wanted(OUTPUTS, (2.0,)), tiles=Tiles(2, 7)
    )
    expected = {"logp": -math.log(n), "entropy": math.log(n), "sum_p2": 1 / n, "sum_p2_logp": -math.log(n) / n}
    for name, value in (expected | {"max_logp": -math.log(n), "logit": 0.0}).items():
        assert getattr(stats, name).tolist() == pytest.approx([value] * 2, rel=1e-5, abs=1e-7)
    assert stats.lse[0].tolist() == pytest.approx([math.log(n)] * 2)


def test_too_few_largest_entries_are_reported_and_give_the_sampler_with_top_k():
    _, _, _, labels = case(tokens=2)
    logits = torch.stack([torch.linspace(0, 0.5, 71), torch.linspace(0, 60, 71)]).double()
    wanted = Wanted((), min_p=0.2, top_p=0.8, top_k=10)
    stats = vocab_statistics(logits, torch.eye(71).double(), labels, wanted, tiles=Tiles(2, 9))
    assert stats.min_p_exact.tolist() == [False, True]
    assert stats.nucleus_exact.tolist() == [False, True]
    p = logits[0].softmax(0)[-10:]
    assert float(stats.min_p_mass[0]) == pytest.approx(float(p.sum()), rel=1e-12)
    assert float(stats.nucleus_entropy[0]) == pytest.approx(
        float(torch.distributions.Categorical(p).entropy()), rel=1e-12
    )


def test_a_vocabulary_no_larger_than_top_k_is_always_exact():
    hidden, weight, bias, labels = case(vocabulary=9, size=0.01)
    wanted = Wanted((), min_p=1e-6, top_p=0.999999, top_k=64)
    got, stats = ours(hidden, weight, bias, labels, wanted, Head(), Tiles(4, 4))
    assert stats.min_p_exact.all() and stats.nucleus_exact.all()
    torch.testing.assert_close(got["min_p_mass"], torch.ones(13, dtype=torch.float64))


def test_ties_at_the_edge_of_the_nucleus_all_stay_in():
    logits = torch.tensor([[3.0, 1.0, 1.0, 1.0, -9.0]]).double()
    share = float(logits.softmax(1)[0, 0]) + 0.01  # the first of three equal tokens would do
    wanted = Wanted((), top_p=share, top_k=5)
    stats = vocab_statistics(logits, torch.eye(5).double(), torch.tensor([0]), wanted)
    want = torch.distributions.Categorical(logits=logits[:, :4]).entropy()
    torch.testing.assert_close(stats.nucleus_entropy, want)


class Largest(TorchDispatchMode):
    """The largest storage that any operation returns."""

    def __init__(self):
        super().__init__()
        self.bytes = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        result = function(*args, **(kwargs or {}))
        for x in tree_leaves(result):
            if isinstance(x, torch.Tensor):
                self.bytes = max(self.bytes, x.untyped_storage().nbytes())
        return result


def test_nothing_of_the_size_of_all_logits_is_ever_made():
    tokens, vocabulary, wanted = 300, 4000, replace(EVERYTHING, top_k=24)
    hidden, weight, bias, labels = case(tokens, 4, vocabulary)
    tiles = Tiles(32, 512)
    with Largest() as seen:
        got, _ = ours(hidden, weight, bias, labels, wanted, HEADS[3], tiles)
        sum(x.sum() for x in got.values()).backward()
    tile = tiles.tokens * tiles.vocabulary * 8
    assert 0 < seen.bytes <= 2 * tile < tokens * vocabulary * 8 / 10


def test_autocast_projects_in_half_precision_and_sums_in_single():
    hidden, weight, bias, labels = case(dtype=torch.float32)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got, _ = ours(hidden, weight, bias, labels, EVERYTHING, Head(), Tiles(4, 9))
        logits = torch.mm(hidden, weight.t()) + bias.bfloat16()
    assert logits.dtype == torch.bfloat16
    identity = torch.eye(71, dtype=torch.float64)
    want = dense(logits.double(), identity, None, labels, Wanted(OUTPUTS), Head())
    for name in OUTPUTS:
        assert got[name].dtype == torch.float32
        torch.testing.assert_close(got[name].double(), want[name], rtol=1e-4, atol=1e-4)
    (mine,) = torch.autograd.grad(got["entropy"].sum(), hidden)
    (exact,) = torch.autograd.grad(dense(hidden, weight, bias, labels, Wanted(), Head())["entropy"].sum(), hidden)
    assert mine.dtype == torch.float32
    assert float((mine - exact).norm() / exact.norm()) < 0.02


def test_padding_is_left_out_before_and_put_back_after():
    hidden, weight, bias, labels = case(tokens=12)
    mask = torch.tensor([[1, 1, 0, 0], [0, 0, 0, 0], [1, 0, 1, 1]])
    spoiled = torch.where(mask.bool().view(12, 1), hidden, torch.nan).view(3, 4, -1)
    valid_hidden, valid_labels = packed(spoiled, labels.view(3, 4), mask)
    assert valid_hidden.shape == (5, hidden.shape[1])
    entropy = unpacked(vocab_statistics(valid_hidden, weight, valid_labels, Wanted(), bias=bias).entropy, mask)
    want = dense(hidden, weight, bias, labels, Wanted(), Head())["entropy"].view(3, 4)
    torch.testing.assert_close(entropy, torch.where(mask.bool(), want, 0.0))
    none = unpacked(vocab_statistics(*_nothing(hidden, weight, labels), Wanted()).entropy, torch.zeros(3, 4))
    none.sum().backward()
    assert (none == 0).all() and (weight.grad == 0).all()


def _nothing(hidden, weight, labels):
    none, no_labels = packed(hidden.view(3, 4, -1), labels.view(3, 4), torch.zeros(3, 4))
    return none, weight, no_labels


def test_a_sharded_head_is_gathered_once_in_each_pass():
    hidden, weight, bias, labels = case()
    open_now, seen = [], []

    @contextmanager
    def gather():
        seen.append(len(open_now))
        open_now.append(1)
        yield
        open_now.pop()

    stats = vocab_statistics(hidden, weight, labels, Wanted(), bias=bias, tiles=Tiles(4, 9), gather=gather)
    assert seen == [0] and not open_now
    stats.entropy.sum().backward()
    assert seen == [0, 0] and not open_now


def test_what_cannot_be_computed_is_refused_by_name():
    hidden, weight, _, labels = case()
    with pytest.raises(ValueError, match="no output 'entropie'; known: logp"):
        Wanted(("entropie",))
    with pytest.raises(ValueError, match="temperatures"):
        Wanted(temperatures=(0.0,))
    with pytest.raises(ValueError, match="top_p 2"):
        Wanted(top_p=2)
    with pytest.raises(IndexError, match="leave padding out"):
        vocab_statistics(hidden, weight, labels - 100, Wanted())
    with pytest.raises(ValueError, match="disagree"):
        vocab_statistics(hidden, weight, labels[:3], Wanted())
