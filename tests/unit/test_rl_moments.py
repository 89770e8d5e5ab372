"""Running moments of rewards: the same whatever the batches, and safe where nothing was scored."""

from __future__ import annotations

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from entropostat.rl.moments import RunningMoments


def stream(seed, n=40):
    return 3 + 2 * torch.randn(n, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(a, b, rel=1e-12):
    assert (a.count, a.mean, a.variance) == pytest.approx((b.count, b.mean, b.variance), rel=rel)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(seed=st.integers(0, 1000), cuts=st.lists(st.integers(0, 40), max_size=6))
def test_the_moments_do_not_depend_on_how_the_stream_is_cut(seed, cuts):
    x, moments = stream(seed), RunningMoments()
    for part in torch.tensor_split(x, sorted(cuts)):
        moments = moments.update(part)
    close(moments, RunningMoments().update(x))


def test_they_are_those_of_all_values_but_for_a_weak_start():
    x = stream(1, 4000)
    moments = RunningMoments().update(x)
    assert moments.mean == pytest.approx(float(x.mean()), rel=1e-6)
    assert moments.variance == pytest.approx(float(x.var(unbiased=False)), rel=1e-5)


def test_a_constant_far_from_zero_keeps_its_precision():
    moments = RunningMoments()
    for _ in range(50):
        moments = moments.update(torch.tensor([1e8, 1e8 + 1], dtype=torch.float64))
    assert moments.normalise(torch.tensor([1e8 + 1], dtype=torch.float64)).isfinite().all()
    assert moments.mean == pytest.approx(1e8, rel=1e-5)


def test_completions_without_a_reward_do_not_count_and_stay_without_one():
    x = torch.tensor([1.0, torch.nan, 3.0])
    close(RunningMoments().update(x), RunningMoments().update(torch.tensor([1.0, 3.0])))
    assert RunningMoments().normalise(x).isnan().tolist() == [False, True, False]
    start = RunningMoments()
    assert start.update(torch.tensor([torch.nan])) == start and start.update(torch.zeros(0)) == start


def test_normalised_rewards_have_mean_zero_and_deviation_one_in_their_own_dtype():
    x = stream(2, 400).float()
    y = RunningMoments().update(x).normalise(x)
    assert y.dtype == torch.float32
    assert float(y.mean()) == pytest.approx(0, abs=1e-4)
    assert float(y.std(unbiased=False)) == pytest.approx(1, abs=1e-3)
    same = RunningMoments().update(torch.full((9,), 2.0)).update(torch.full((9,), 2.0))
    assert same.normalise(torch.tensor([2.0])).isfinite().all()


def test_the_state_survives_a_file():
    moments = RunningMoments().update(stream(3))
    assert RunningMoments.from_state(json.loads(json.dumps(moments.state_dict()))) == moments


def test_the_released_variance_is_larger():
    x = stream(4, 5)
    ratio = (
        RunningMoments(0.0, 0.0, 0.0).update(x, bessel=True).variance / RunningMoments(0.0, 0.0, 0.0).update(x).variance
    )
    assert ratio == pytest.approx(5 / 4)
