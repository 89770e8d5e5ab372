"""What a truncated sampler keeps, by its own definition; and where entropy spikes."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from entropostat.rl import sampling
from entropostat.rl.diagnostics.spikes import spikes

LOGITS = st.lists(st.floats(-30, 30, width=32) | st.just(-math.inf), min_size=1, max_size=40).filter(
    lambda x: any(math.isfinite(v) for v in x)
)


def entropy(p):
    return float(torch.special.entr(p / p.sum()).sum())


@given(LOGITS, st.floats(0.01, 1.0))
def test_top_h_is_the_largest_set_of_likeliest_tokens_within_the_bound(values, alpha):
    p = torch.tensor(values, dtype=torch.float64).softmax(-1)
    kept = sampling.top_h(torch.tensor(values, dtype=torch.float64), alpha)
    assert kept.any() and bool((p[kept] > 0).all())
    dropped = p[~kept & (p > 0)]
    assert not len(dropped) or float(dropped.max()) <= float(p[kept].min())
    assert int(kept.sum()) == 1 or entropy(p[kept]) <= alpha * entropy(p) + 1e-9
    if len(dropped):
        one_more = torch.cat([p[kept], dropped.max().reshape(1)])
        assert entropy(one_more) > alpha * entropy(p) - 1e-9


def test_top_h_keeps_its_bound_on_a_flat_distribution_where_transformers_does_not():
    from transformers import TopHLogitsWarper

    logits = torch.randn(1, 1000, generator=torch.Generator().manual_seed(0)) * 0.5
    p = logits.double().softmax(-1)
    theirs = ~TopHLogitsWarper(0.4)(torch.zeros(1, 1, dtype=torch.long), logits.clone())[0].isneginf()
    ours = sampling.top_h(logits, 0.4)[0]
    bound = 0.4 * entropy(p[0])
    assert entropy(p[0, ours]) <= bound < entropy(p[0, theirs])


def test_top_h_of_four_tokens_by_hand():
    # p = .5 .25 .125 .125: H = 1.75 bits. The first two, renormalised to 2/3 1/3, have .918 bits, the first three
    # (4/7 2/7 1/7) 1.379: a share of .6, 1.05 bits, keeps two, and one of .79, 1.383 bits, three.
    logits = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64).log()
    assert sampling.top_h(logits, 0.6).tolist() == [True, True, False, False]
    assert sampling.top_h(logits, 0.79).tolist() == [True, True, True, False]


@given(LOGITS, st.floats(-5, 40))
def test_mirostat_keeps_what_surprises_at_most_mu_and_never_nothing(values, mu):
    bits = sampling.surprise(torch.tensor([values], dtype=torch.float64))
    kept = sampling.mirostat(bits, torch.tensor([mu], dtype=torch.float64))
    assert kept.any() and bool(kept[0, bits[0].argmin()])
    others = kept.clone()
    others[0, bits[0].argmin()] = False
    assert bool((bits[others] <= mu).all()) and bool((bits[~kept] > mu).all())


def test_mirostat_by_hand():
    # 1, 2, 3 and 3 bits. At 2.5 bits two are kept, with 3/4 of the mass: the second has log2 3 = 1.585 bits among them.
    bits = sampling.surprise(torch.tensor([[0.5, 0.25, 0.125, 0.125]], dtype=torch.float64).log())
    torch.testing.assert_close(bits[0], torch.tensor([1.0, 2.0, 3.0, 3.0], dtype=torch.float64))
    mu, token = torch.tensor([2.5], dtype=torch.float64), torch.tensor([1])
    kept = sampling.mirostat(bits, mu)
    assert kept[0].tolist() == [True, True, False, False]
    after = [float(sampling.mirostat_step(mu, bits, kept, token, 1.5, 0.1, whole)) for whole in (True, False)]
    assert after == [pytest.approx(2.5 - 0.1 * 0.5), pytest.approx(2.5 - 0.1 * (math.log2(3) - 1.5))]


@pytest.mark.parametrize("whole", [True, False])
def test_mirostat_holds_the_surprise_of_what_is_drawn(whole):
    generator, tau = torch.Generator().manual_seed(0), 3.5
    rows = torch.randn(64, 50, generator=generator, dtype=torch.float64) * 1.5
    mu, told = torch.full((64,), 2 * tau, dtype=torch.float64), []
    for _ in range(300):
        bits = sampling.surprise(rows)
        kept = sampling.mirostat(bits, mu)
        p = torch.where(kept, torch.exp2(-bits), 0.0)
        token = torch.multinomial(p, 1, generator=generator).squeeze(1)
        after = sampling.mirostat_step(mu, bits, kept, token, tau, 0.1, whole)
        told.append((mu - after) / 0.1 + tau)
        mu = after
    assert float(torch.stack(told[100:]).mean()) == pytest.approx(tau, abs=0.05)


def test_a_token_spikes_above_what_came_before_it_and_padding_is_no_token():
    flat = torch.full((2, 12), 1.0)
    flat[:, 8] = 3.5
    mask = torch.ones(2, 12)
    mask[1, 2:5] = 0
    jumps = spikes(flat, mask, window=4, k=4.0, least_std=0.5, least=1.8, first=9.0)
    # mean 1, deviation 0 raised to .5: the bar is 1 + 4 x .5 = 3, below 3.5. Afterwards 3.5 is in the window, and 1 is below.
    assert jumps.nonzero().tolist() == [[0, 8], [1, 8]]
    assert not spikes(flat, torch.zeros(2, 12), window=4).any()
    early = spikes(flat, mask, window=25, first=3.0)
    assert early.nonzero().tolist() == [[0, 8], [1, 8]]


def test_what_lies_in_padding_does_not_move_the_bar():
    values, mask = torch.rand(3, 40, generator=torch.Generator().manual_seed(1)) * 3, torch.ones(3, 40)
    mask[:, 10:20] = 0
    garbage = torch.where(mask.bool(), values, 50.0)
    options = {"window": 5, "k": 1.0, "least_std": 0.1, "least": 0.1, "first": 3.0}
    assert torch.equal(spikes(values, mask, **options), spikes(garbage, mask, **options))
    assert spikes(values, mask, **options).any()


def test_tokens_of_tools_are_passed_over_and_a_steady_text_does_not_jump_at_a_little():
    values = torch.rand(2, 40, generator=torch.Generator().manual_seed(3)) * 2
    values[:, 30] = 6.0
    mask = torch.ones(2, 40)
    mask[:, 12:20] = 0
    options = {"window": 5, "k": 2.0, "least_std": 0.1, "least": 0.5, "first": 3.0}
    kept = mask[0].bool()
    packed = spikes(values[:, kept], torch.ones(2, int(kept.sum())), **options)
    assert torch.equal(spikes(values, mask, **options)[:, kept], packed) and packed.any()
    steady = torch.full((1, 12), 1.0)
    steady[0, 8] = 2.5  # below 1 + 4 x .5, although nothing varied before
    assert not spikes(steady, torch.ones(1, 12), window=4).any()
