"""The Triton kernels of the vocabulary pass against its torch path, under Triton's interpreter on a CPU.

Run by test_rl_vocab_triton.py in a process of its own: what the interpreter runs is decided when Triton is imported.
"""

from __future__ import annotations

import math
import os
from dataclasses import replace
from itertools import product

os.environ["TRITON_INTERPRET"] = "1"

import pytest
import torch

from entropostat.rl import vocab
from entropostat.rl.vocab import OUTPUTS, Head, Tiles, Wanted, vocab_statistics

TEMPERATURES = (0.5, 1.0, 2.5)
EVERYTHING = Wanted(OUTPUTS, TEMPERATURES)
HEADS = [Head(), Head(scale=0.7, temperature=1.3), Head(softcap=3.0), Head(scale=1.7, softcap=2.0, temperature=0.6)]
TILES = [Tiles(3, 45), Tiles(64, 512), Tiles(1, 1)]
SINGLE = {"rtol": 1e-5, "atol": 1e-5}
"""Sums of 71 terms in another order, and a tanh to one rounding of a cap of 3."""
HALF = {"rtol": 2**-10, "atol": 2**-10}
"""A slope is rounded to half precision before its products, as on CUDA; the torch path on a CPU does not. float16: the
interpreter truncates to bfloat16 instead of rounding."""


@pytest.fixture(autouse=True)
def small_blocks(monkeypatch):
    """Several blocks per tile, the last of them ragged."""
    triton_path = pytest.importorskip("entropostat.rl.vocab_triton", reason="Triton is not installed")
    monkeypatch.setattr(triton_path, "BLOCK", 16)


def case(tokens=5, width=5, vocabulary=71, size=1.0, bias=True, dtype=torch.float32):
    draw = torch.Generator().manual_seed(3)
    leaves = [size * torch.randn(tokens, width, generator=draw), torch.randn(vocabulary, width, generator=draw)]
    leaves += [torch.randn(vocabulary, generator=draw)] if bias else []
    return [x.to(dtype).requires_grad_() for x in leaves], torch.randint(vocabulary, (tokens,), generator=draw)


def values(path, leaves, labels, wanted, head, tiles):
    """Every floating-point result by name, by one of the two paths."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ENTROPOSTAT_VOCAB", path)
        bias = leaves[2] if len(leaves) > 2 else None
        stats = vocab_statistics(leaves[0], leaves[1], labels, wanted, bias=bias, head=head, tiles=tiles)
    named = {name: getattr(stats, name) for name in OUTPUTS if getattr(stats, name) is not None}
    return named | {f"lse {t}": x for t, x in zip(wanted.temperatures, stats.lse, strict=True)}


def agree(leaves, labels, wanted=EVERYTHING, head=HEADS[0], tiles=TILES[0], tolerance=SINGLE, each=False):
    """Each statistic and the gradient of all together; ``each``: also that of each."""
    mine, theirs = (values(path, leaves, labels, wanted, head, tiles) for path in ("triton", "torch"))
    assert set(mine) == set(theirs)
    both = {name: (mine[name], theirs[name]) for name in theirs}
    both["all"] = tuple(sum(x.sin() for x in side.values()) for side in (mine, theirs))
    for name, pair in both.items():
        if name != "all":
            torch.testing.assert_close(*pair, **SINGLE, msg=lambda m, n=name: f"{n}: {m}")
            if not each:
                continue
        slope = torch.linspace(-1, 2, pair[0].numel())
        got, want = (torch.autograd.grad(x, leaves, slope, retain_graph=True) for x in pair)
        for a, b in zip(got, want, strict=True):
            scale = max(1.0, float(b.abs().max())) if b.numel() else 1.0
            torch.testing.assert_close(
                a.float() / scale, b.float() / scale, **tolerance,
                msg=lambda m, n=name: f"gradient of {n}: {m}",
            )  # fmt: skip
    return mine


@pytest.mark.parametrize(("head", "tiles"), [*product(HEADS, TILES[:1]), (HEADS[3], TILES[1])], ids=str)
def test_every_statistic_and_each_of_its_gradients_equals_that_of_torch(head, tiles):
    agree(*case(), head=head, tiles=tiles, each=True)


def test_tiles_of_a_single_logit():
    agree(*case(tokens=2, vocabulary=7), tiles=TILES[2])


@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_alone_is_right_and_brings_no_other(name):
    assert set(agree(*case(), wanted=Wanted((name,)), head=HEADS[3])) == {name}


@pytest.mark.parametrize("temperatures", [(), (0.7,), (0.5, 0.8, 1.0, 1.5, 3.0)])
def test_any_number_of_temperatures(temperatures):
    agree(*case(tokens=3), wanted=replace(EVERYTHING, temperatures=temperatures), head=HEADS[1])


@pytest.mark.parametrize("tokens", [1, 0])
def test_one_token_and_none(tokens):
    agree(*case(tokens=tokens), head=HEADS[3])


def test_no_bias():
    agree(*case(bias=False), head=HEADS[1])


@pytest.mark.parametrize("head", [HEADS[0], HEADS[3]], ids=str)
def test_forbidden_tokens_and_extreme_logits_stay_finite(head):
    leaves, labels = case(size=1e4)
    with torch.no_grad():
        leaves[2][5:20] = -math.inf
        leaves[2][40] = math.inf if head.softcap else 0.0
    outputs = agree(leaves, labels.clamp(max=4), head=head, tolerance={"rtol": 1e-4, "atol": 1e-4})
    gradients = torch.autograd.grad(sum(x.sum() for x in outputs.values()), leaves)
    assert all(torch.isfinite(x).all() for x in (*outputs.values(), *gradients))
    assert (gradients[2][5:20] == 0).all()


def test_nothing_but_forbidden_tokens_in_the_first_tile():
    leaves, labels = case()
    with torch.no_grad():
        leaves[2][:45] = -math.inf
    agree(leaves, labels)


def test_of_equally_likely_tokens_the_first_one_gets_the_gradient():
    leaves, labels = case()
    with torch.no_grad():
        places = [18, 19, 40, 47, 60]  # in two blocks of one tile, and in another tile
        leaves[1][places] = leaves[1][7].clone()
        leaves[2][places] = 30.0
    outputs = agree(leaves, labels, wanted=Wanted(("max_logp",)))
    (gradient,) = torch.autograd.grad(outputs["max_logp"].sum(), leaves[2])
    torch.testing.assert_close(gradient[places], len(labels) * torch.tensor([0.8, -0.2, -0.2, -0.2, -0.2]))


def test_a_model_that_has_diverged_shows_it():
    leaves, labels = case()
    with torch.no_grad():
        leaves[1][33] = math.nan
    outputs = values("triton", leaves, labels, EVERYTHING, HEADS[0], TILES[0])
    for name in ("logp", "entropy", "sum_p2", "sum_p2_logp", "max_logp", "lse 0.5"):
        assert outputs[name].isnan().all(), name


def test_half_precision_rounds_the_projection_and_keeps_single_sums():
    leaves, labels = case(dtype=torch.float16)
    outputs = agree(leaves, labels, head=HEADS[1], tolerance=HALF)
    assert {x.dtype for x in outputs.values()} == {torch.float32}


def test_the_gradient_of_a_bias_is_not_rounded_before_its_sum():
    leaves, labels = case(tokens=120, width=2, vocabulary=20, dtype=torch.float16)
    leaves[2] = leaves[2].detach().float().requires_grad_()
    both = [values(path, leaves, labels, Wanted(), HEADS[0], Tiles(120, 20)) for path in ("triton", "torch")]
    mine, theirs = (torch.autograd.grad(outputs["entropy"].sum(), leaves[2])[0] for outputs in both)
    torch.testing.assert_close(mine, theirs, **SINGLE)


def test_a_frozen_head_gets_no_gradient():
    leaves, labels = case()
    for x in leaves[1:]:
        x.requires_grad_(False)
    both = [values(path, leaves, labels, EVERYTHING, HEADS[2], TILES[0]) for path in ("triton", "torch")]
    mine, theirs = (torch.autograd.grad(sum(x.sum() for x in outputs.values()), leaves[0])[0] for outputs in both)
    torch.testing.assert_close(mine, theirs, **SINGLE)


def test_the_kernels_ran_and_torch_did_not(monkeypatch):
    monkeypatch.setattr(vocab, "fold", None)
    monkeypatch.setattr(vocab, "slope", None)
    leaves, labels = case()
    values("triton", leaves, labels, EVERYTHING, HEADS[0], TILES[0])["entropy"].sum().backward()
    with pytest.raises(TypeError):
        values("torch", leaves, labels, EVERYTHING, HEADS[0], TILES[0])
