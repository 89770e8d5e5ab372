"""Statistics over ranks and slices equal those of one process: simulated ranks, no process group."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import (
    ACTING,
    ADVANTAGE,
    SLOTS,
    batch_of,
    gradients,
    label,
    objective,
    on_ranks,
    rollout_view,
    rows_of,
    rows_of_stats,
    with_leaves,
)

from entropostat.rl.covariance import selection_keys, token_count, token_covariance
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import LOCAL, all_groups, masked_mean, quantile, top_mask

few = settings(max_examples=15, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
CUTS = [(0, 2, 6), (0, 3, 5, 6), (0, 1, 2, 3, 4, 5, 6)]


def share(x, cut):
    """One part of ``x`` per rank, cut at these rows."""
    return [x[a:b] for a, b in pairwise(cut)]


@pytest.mark.parametrize("cut", CUTS, ids=str)
@few
@given(seed=seeds, count=st.integers(0, 45), ties=st.booleans(), idle=st.booleans())
def test_top_mask_over_ranks_is_that_of_one_process(cut, seed, count, ties, idle):
    batch = batch_of(seed)
    score, valid = batch.logps, batch.valid.clone()
    if ties:
        score = (score * 2).round()
    if idle:
        valid[cut[0] : cut[1]] = False  # a rank without one valid token
    whole = top_mask(score, valid, count)
    assert int(whole.sum()) == min(count, int(valid.sum()))
    parts = zip(share(score, cut), share(valid, cut), strict=True)
    masks = on_ranks([lambda r, s=s, v=v: top_mask(s, v, count, r) for s, v in parts])
    assert torch.equal(torch.cat(masks), whole)
    if whole.any() and (valid & ~whole).any():
        assert score[whole].min() >= score[valid & ~whole].max()


@few
@given(seed=seeds)
def test_means_quantiles_and_counts_over_ranks_are_those_of_one_process(seed):
    batch, cut = batch_of(seed), (0, 2, 5, 6)
    mask = batch.mask.clone()
    mask[2:5] = 0
    batch = batch.set(mask=mask)
    cov, count = token_covariance(batch), token_count(batch)
    mean, pooled = masked_mean(batch.logps, mask), batch.logps[batch.valid]

    def work(part):
        def run(r):
            ours = part.set(reducer=r)
            return (
                masked_mean(ours.logps, ours.mask, r),
                quantile(r.gather(ours.logps[ours.valid]), 0.8),
                token_count(ours),
                token_covariance(ours),
            )

        return run

    results = on_ranks([work(rows_of(batch, slice(a, b))) for a, b in pairwise(cut)])
    for own_mean, own_quantile, own_count, _ in results:
        torch.testing.assert_close(own_mean, mean)
        assert own_quantile == quantile(pooled, 0.8)
        assert own_count == count
    torch.testing.assert_close(torch.cat([r[3] for r in results]), cov)


@pytest.mark.parametrize(
    "groups", [[0, 0, 1, 1, 2, 2], [5, 3, 5, 3, 3, 9], None], ids=["in order", "scattered", "none"]
)
def test_groups_may_straddle_ranks(groups):
    x = torch.tensor([1.0, 2.0, 4.0, 8.0, 16.0, 32.0], dtype=torch.float64)
    ids = None if groups is None else torch.tensor(groups)
    whole = all_groups(x, ids, LOCAL)
    assert torch.equal(whole.own(whole.matrix), x)

    def work(a, b):
        return lambda r: all_groups(x[a:b], None if ids is None else ids[a:b], r)

    for (a, b), part in zip([(0, 1), (1, 4), (4, 6)], on_ranks([work(0, 1), work(1, 4), work(4, 6)]), strict=True):
        assert torch.equal(part.matrix.nan_to_num(-1), whole.matrix.nan_to_num(-1))
        assert torch.equal(part.own(part.matrix), x[a:b])
        assert torch.equal(part.flat(part.matrix), x)


@pytest.mark.parametrize("setting", ADVANTAGE, ids=label)
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_advantages_do_not_depend_on_the_number_of_ranks(setting, cut):
    o, batch = objective(setting), batch_of(8, groups=torch.tensor([0, 1, 0, 1, 1, 0]))
    whole = o.rollout(batch).advantages
    parts = [rows_of(batch, slice(a, b)) for a, b in pairwise(cut)]
    shares = on_ranks([lambda r, p=p: o.rollout(p.set(reducer=r)).advantages for p in parts])
    torch.testing.assert_close(torch.cat(shares), whole)


PER_MICRO_BATCH = ("penalties", "entropy_bonus", {"coef": 0.7, "reduction": "trl"})
POOLED = ("micro", "ranks")
ROLLOUT = [s for s in ACTING if SLOTS[s[0]].build(*s[1:]).scope not in POOLED and s != PER_MICRO_BATCH]


@pytest.mark.parametrize("setting", ROLLOUT, ids=label)
@pytest.mark.parametrize("cut", CUTS, ids=str)
def test_with_scope_rollout_neither_ranks_nor_slices_change_the_gradient(setting, cut):
    o, batch = objective(setting), with_leaves(batch_of(21))
    batch = batch.set(mask=torch.cat([torch.zeros_like(batch.mask[:2]), batch.mask[2:]]))  # a rank with nothing valid
    stats = o.rollout(rollout_view(batch)).stats
    token, _ = o.token_loss(batch, stats)
    scalar = sum(o.penalty(p, batch, stats)[0] for p in o.penalties if p.term.kind == "scalar")
    want = gradients(token[batch.valid].sum() + scalar, batch)

    slices = [slice(a, b) for a, b in pairwise(cut)]
    views = [rows_of(rollout_view(batch), s) for s in slices]
    for per_rank in (
        on_ranks([lambda r, v=v: o.rollout(v.set(reducer=r)).stats for v in views]),
        [rows_of_stats(stats, s) for s in slices],
    ):
        loss = torch.zeros((), dtype=torch.float64)
        for s, own in zip(slices, per_rank, strict=True):
            part = rows_of(batch, s)
            values, _ = o.token_loss(part, own)
            loss = loss + values[part.valid].sum()
            loss = loss + sum(o.penalty(p, part, own)[0] for p in o.penalties if p.term.kind == "scalar")
        have = gradients(loss, batch)
        for name in want:
            torch.testing.assert_close(have[name], want[name], rtol=1e-12, atol=1e-13)


def test_the_entropy_bonus_of_trl_depends_on_the_slices_and_the_global_one_does_not():
    batch = with_leaves(batch_of(21, groups=None))
    batch = batch.set(mask=torch.cat([batch.mask[:3], batch.mask[3:] * (torch.arange(7) < 2)]))
    for setting, differs in ((PER_MICRO_BATCH, True), (("penalties", "entropy_bonus", {"coef": 0.7}), False)):
        o = objective(setting)
        values = [o.penalty(o.penalties[0], rows_of(batch, s), {})[0] for s in (slice(0, 3), slice(3, 6))]
        whole = o.penalty(o.penalties[0], batch, {})[0]
        together = sum(values) / 2 if differs else sum(values)
        assert bool((together - whole).abs() > 1e-3) is differs


@pytest.mark.parametrize("kind", ["clip_cov", "high_entropy"])
def test_scope_ranks_pools_the_micro_step_over_ranks_and_scope_micro_does_not(kind):
    whole = batch_of(9)
    parts = [rows_of(whole, slice(0, 2)), rows_of(whole, slice(2, 6))]
    alone = Objective.build(spec_of(kind, "micro")).weight(whole, {})[0]

    def weights(scope):
        o = Objective.build(spec_of(kind, scope))
        return torch.cat(on_ranks([lambda r, p=p: o.weight(p.set(reducer=r), {})[0] for p in parts]))

    assert torch.equal(weights("ranks"), alone)
    assert not torch.equal(weights("micro"), alone)


def spec_of(kind, scope):
    options = {"fraction": 0.3, "scope": scope} | ({"low": 0.0} if kind == "clip_cov" else {})
    return {"loss": ("unclipped", "unclipped", {}), "weights": [(kind, kind, options)]}


def test_selection_keys_are_uniform_reproducible_and_differ_by_seed_generation_sequence_and_position():
    batch = batch_of(0, rows=300, width=100).set(seed=1, generation=2, uids=torch.arange(300))
    keys = selection_keys(batch)
    assert keys.dtype == torch.float64 and keys.min() >= 0 and keys.max() < 1
    assert torch.equal(keys, selection_keys(batch))
    assert keys.unique().numel() == keys.numel()
    ordered = keys.flatten().sort().values
    steps = torch.arange(1, keys.numel() + 1) / keys.numel()
    assert (ordered - steps).abs().max() < 1.95 / keys.numel() ** 0.5  # Kolmogorov-Smirnov at 0.1 %
    for other in (batch.set(seed=2), batch.set(generation=3), batch.set(uids=torch.arange(300) + 300)):
        correlation = torch.corrcoef(torch.stack([keys.flatten(), selection_keys(other).flatten()]))[0, 1]
        assert abs(correlation) < 0.025
    for a, b in ((keys[:-1], keys[1:]), (keys[:, :-1], keys[:, 1:])):
        assert abs(torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1]) < 0.025


def test_selection_keys_depend_on_neither_slice_nor_global_rng_and_can_be_injected():
    batch = batch_of(5)
    torch.manual_seed(0)
    keys = selection_keys(batch)
    torch.manual_seed(1)
    assert torch.equal(selection_keys(rows_of(batch, slice(2, 5))), keys[2:5])
    narrow = batch.set(mask=batch.mask[:, :4])
    assert torch.equal(selection_keys(narrow), keys[:, :4])
    injected = torch.rand(6, 7)
    assert selection_keys(batch.set(keys=injected)) is injected
    assert torch.equal(selection_keys(batch.set(uids=None)), selection_keys(batch.set(uids=torch.arange(6))))


def test_the_bounds_of_bapo_are_those_of_the_micro_step_on_all_ranks_and_with_scope_micro_each_rank_has_its_own():
    def bounds(scope, batch):
        stats = objective(("loss", "bapo", {"target": 1.08, "scope": scope})).for_loss(batch, {}).stats
        return float(stats["lower"]), float(stats["upper"])

    apart = 0
    for seed in range(8):
        whole = batch_of(seed)
        parts = [rows_of(whole, slice(0, 2)), rows_of(whole, slice(2, 6))]
        alone = bounds("ranks", whole)
        assert on_ranks([lambda r, p=p: bounds("ranks", p.set(reducer=r)) for p in parts]) == [alone, alone]
        apart += len({alone, *on_ranks([lambda r, p=p: bounds("micro", p.set(reducer=r)) for p in parts])}) > 1
    assert apart > 0
