"""What min-p keeps, and the mean log-probability under soft labels: in tiles, against the dense computation."""

from __future__ import annotations

import math

import pytest
import torch
from unit.test_rl_vocab import EVERYTHING, HEADS, TOLERANCE, case

from entropostat.rl.vocab import Head, SoftLabels, Tiles, Wanted, packed, unpacked, vocab_statistics

TILES = [Tiles(4, 9), Tiles(7, 71), Tiles(1, 1), Tiles(64, 512)]


def logps(hidden, weight, bias, head):
    y = head.scale * (hidden @ weight.T + bias)
    z = y if head.softcap is None else head.softcap * torch.tanh(y / head.softcap)
    return (z / head.temperature).log_softmax(-1)


def labels_for(tokens, vocabulary, dtype=torch.float64):
    """Four entries a token, one of them twice; the last token has none, and the one before it sums to 0.3."""
    draw = torch.Generator().manual_seed(1)
    ids = torch.rand(tokens, vocabulary, generator=draw).topk(4, dim=1).indices
    ids[:, 3] = ids[:, 0]
    probs = torch.rand(tokens, 4, generator=draw, dtype=torch.float64).softmax(1)
    probs[-2] *= 0.3
    probs[-1] = 0
    return SoftLabels(ids.int(), probs.to(dtype))


@pytest.mark.parametrize("tiles", TILES, ids=str)
@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_the_mean_under_soft_labels_and_its_gradients_equal_the_dense_ones(dtype, head, tiles):
    *leaves, labels = case(dtype=dtype)
    soft = labels_for(13, 71, dtype)
    stats = vocab_statistics(
        leaves[0], leaves[1], labels, Wanted(()), bias=leaves[2], head=head, tiles=tiles, soft=soft
    )
    assert stats.logp is None and stats.logit is None
    exact = [x.detach().double().requires_grad_() for x in leaves]
    want = (logps(*exact, head).gather(1, soft.ids.long()) * soft.probs).sum(1)
    torch.testing.assert_close(stats.soft_logp.double(), want, **TOLERANCE[dtype])
    assert stats.soft_logp[-1] == 0 and want[-1] == 0
    slope = torch.linspace(-1, 2, 13, dtype=torch.float64)
    for a, b in zip(
        torch.autograd.grad(stats.soft_logp, leaves, slope.to(dtype)),
        torch.autograd.grad(want, exact, slope),
        strict=True,
    ):
        scale = max(1.0, float(b.abs().max()))
        torch.testing.assert_close(a.double() / scale, b / scale, **TOLERANCE[dtype])


def test_soft_labels_beside_all_other_statistics_change_none_of_them():
    *leaves, labels = case()
    soft = labels_for(13, 71)
    both, alone = (
        vocab_statistics(*leaves[:2], labels, EVERYTHING, bias=leaves[2], head=HEADS[3], tiles=Tiles(4, 9), soft=s)
        for s in (soft, None)
    )
    assert torch.equal(both.entropy, alone.entropy) and torch.equal(both.logp, alone.logp)
    weighted = both.soft_logp.sin().sum() + both.entropy.cos().sum()
    mine = torch.autograd.grad(weighted, leaves)
    dense = logps(*leaves, HEADS[3])
    want = (dense.gather(1, soft.ids.long()) * soft.probs).sum(1).sin().sum()
    want = want + (dense.exp() * dense).sum(1).neg().cos().sum()
    for a, b in zip(mine, torch.autograd.grad(want, leaves), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("absolute", [False, True], ids=["of the largest", "absolute"])
@pytest.mark.parametrize("tiles", TILES, ids=str)
def test_what_min_p_keeps_is_named_with_its_share_and_has_no_gradient(tiles, absolute):
    hidden, weight, bias, labels = case()
    share = 0.03 if absolute else 0.2
    wanted = Wanted(("logp",), min_p=share, absolute=absolute, kept=True, top_k=60)
    p = logps(hidden, weight, bias, Head()).exp()
    labels[::2] = p.argmax(1)[::2]
    stats = vocab_statistics(hidden, weight, labels, wanted, bias=bias, tiles=tiles)
    kept = p >= (share if absolute else share * p.amax(1, keepdim=True))
    assert stats.min_p_exact.all() and kept.any(1).all() and not kept.all(1).any()
    q = torch.where(kept, p, 0.0)
    torch.testing.assert_close(stats.min_p_mass, q.sum(1))
    q = q / q.sum(1, keepdim=True)
    mine = torch.zeros_like(p).scatter(1, stats.min_p_ids.long(), stats.min_p_probs)
    torch.testing.assert_close(mine, q.detach(), rtol=1e-12, atol=1e-14)
    inside = kept.gather(1, labels.unsqueeze(1))[:, 0]
    assert inside.any() and not inside.all()
    want = torch.where(inside, q.gather(1, labels.unsqueeze(1))[:, 0].log(), -1e4)
    torch.testing.assert_close(stats.min_p_logp, want.detach())
    assert not stats.min_p_logp.requires_grad and not stats.min_p_probs.requires_grad and stats.logp.requires_grad


def test_where_a_fixed_bar_leaves_nothing_the_choice_is_uniform_and_nothing_is_named():
    logits = torch.tensor([[0.0, 0.1, 0.2, 0.3], [5.0, 0.0, 0.0, 0.0]]).double()
    wanted = Wanted((), min_p=0.5, absolute=True, kept=True, top_k=3)
    stats = vocab_statistics(logits, torch.eye(4).double(), torch.tensor([1, 1]), wanted, tiles=Tiles(2, 3))
    assert stats.min_p_mass.tolist() == [0, pytest.approx(float(logits[1].softmax(0)[0]))]
    assert stats.min_p_logp.tolist() == pytest.approx([-math.log(4), -1e4])
    assert stats.min_p_probs.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_the_largest_keep_their_names_in_a_vocabulary_of_many_blocks():
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(6, 5000, generator=draw, dtype=torch.float64)
    wanted = Wanted((), min_p=1e-9, kept=True, top_k=10)
    identity = torch.eye(5000, dtype=torch.float64)
    stats = vocab_statistics(logits, identity, torch.zeros(6, dtype=torch.long), wanted, tiles=Tiles(4, 2111))
    want = logits.topk(10)
    assert torch.equal(stats.min_p_ids.long(), want.indices)
    assert not stats.min_p_exact.any()
    torch.testing.assert_close(stats.min_p_probs, want.values.softmax(1))


def test_unpacking_keeps_what_lies_behind_the_tokens():
    mask = torch.tensor([[1, 0, 1], [0, 0, 1]])
    values = torch.arange(6.0).view(3, 2)
    full = unpacked(values, mask)
    assert torch.equal(full[mask.bool()], values) and (full[mask == 0] == 0).all()
    assert torch.equal(packed(full, full[..., 0], mask)[0], values)
