"""Reductions against plain restatements."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entropostat.rl.reduce import (
    AGGREGATIONS,
    aggregate,
    group_matrix,
    masked_mean,
    masked_sum,
    nan_std,
    quantile,
    top_mask,
)

few = settings(max_examples=30, deadline=None, derandomize=True)


@few
@given(
    seed=st.integers(0, 999),
    size=st.integers(1, 50),
    q=st.floats(0, 1),
    dtype=st.sampled_from([torch.float32, torch.float64]),
)
def test_quantile_is_bit_equal_to_torch(seed, size, q, dtype):
    x = torch.randn(size, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)
    assert quantile(x, q) == torch.quantile(x, q)


def test_quantile_takes_more_elements_than_torch_allows():
    x = torch.zeros(2**24 + 2)
    x[0] = 5.0
    assert quantile(x, 1.0) == 5.0
    assert quantile(x, 0.5) == 0.0


def test_top_mask_gives_ties_to_the_earliest_and_never_selects_padding():
    score = torch.tensor([[1.0, 2.0, 2.0], [2.0, 9.0, 0.0]])
    valid = torch.tensor([[True, True, True], [True, False, True]])
    assert top_mask(score, valid, 2).tolist() == [[False, True, True], [False, False, False]]
    assert top_mask(score, valid, 99).tolist() == valid.tolist()
    for count in (0, -3):
        assert not top_mask(score, valid, count).any()
    assert not top_mask(score, torch.zeros_like(valid), 2).any()


def test_masked_reductions_ignore_what_the_mask_hides_and_are_zero_without_tokens():
    x = torch.tensor([[1.0, float("nan")], [float("inf"), 4.0]])
    mask = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    assert masked_sum(x, mask) == 5
    assert masked_mean(x, mask) == 2.5
    assert masked_mean(x, torch.zeros(2, 2)).isnan()


def test_group_matrix_of_full_ordered_groups_is_a_view_and_pads_ragged_ones():
    x = torch.arange(6.0)
    assert torch.equal(group_matrix(x, torch.tensor([7, 7, 7, 8, 8, 8])).matrix, x.view(2, 3))
    groups = group_matrix(x, torch.tensor([2, 1, 2, 2, 1, 0]))
    assert groups.matrix.nan_to_num(-1).tolist() == [[5, -1, -1], [1, 4, -1], [0, 2, 3]]
    assert torch.equal(groups.own(groups.matrix), x)


def test_nan_std_is_torchs_on_what_is_present_and_zero_for_one_value():
    x = torch.tensor([[1.0, 4.0, 2.0], [5.0, torch.nan, 7.0], [3.0, torch.nan, torch.nan]])
    rows = nan_std(x, dim=1)
    torch.testing.assert_close(rows[:2], torch.stack([x[0].std(), torch.tensor([5.0, 7.0]).std()]))
    assert rows[2] == 0
    torch.testing.assert_close(nan_std(x), x[~x.isnan()].std())


def test_aggregation_leaves_fully_masked_rows_out_and_takes_global_counts():
    x = torch.tensor([[1.0, 3.0], [5.0, 100.0], [100.0, 100.0]])
    mask = torch.tensor([[1.0, 1.0], [1.0, 0.0], [0.0, 0.0]])
    want = {"token-mean": 3.0, "seq-mean-token-mean": 3.5, "seq-mean-token-sum": 4.5, "seq-mean-token-sum-norm": 4.5}
    assert set(want) == set(AGGREGATIONS)
    for mode, value in want.items():
        assert float(aggregate(x, mask, mode)) == pytest.approx(value)
        assert aggregate(x, torch.zeros(3, 2), mode) == 0
    assert aggregate(x, mask, "token-mean", tokens=18) == 0.5
    assert aggregate(x, mask, "seq-mean-token-sum", rows=18) == 0.5
    assert float(aggregate(x, mask, "seq-mean-token-mean", rows=14)) == pytest.approx(0.5)
    assert aggregate(x, mask, "seq-mean-token-sum-norm", length=18) == 0.5
    with pytest.raises(ValueError, match="unknown aggregation 'mean'; known: token-mean"):
        aggregate(x, mask, "mean")
