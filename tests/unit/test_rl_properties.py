"""What holds for every registered term, whatever it computes."""

from __future__ import annotations

import contextlib
import itertools

import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from unit.rl_support import (
    ACTING,
    ADVANTAGE,
    PENALTY,
    TOKEN_FIELDS,
    WEIGHT,
    batch_of,
    gradients,
    label,
    leaf,
    objective,
    pick,
    prepared,
    put,
    rollout_view,
    rows_of,
    same,
    total,
    with_extra,
    with_leaves,
)

from entropostat.rl.measured import Mean, merged
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import REGISTRIES

each = pytest.mark.parametrize
few = settings(max_examples=8, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
INF = float("inf")


def run(setting, batch):
    """Loss, gradients and metrics of the term on this batch: those that the batch gives something to measure."""
    batch = with_leaves(batch)
    loss, metrics = total(objective(setting), batch)
    empty = {key for key, value in metrics.items() if isinstance(value, Mean) and value.count == 0}
    numbers = {key: torch.tensor(value) for key, value in merged(metrics, LOCAL).items()}
    assert all(numbers[key].isnan() for key in empty)
    return loss.detach(), gradients(loss, batch), {key: x for key, x in numbers.items() if key not in empty}


@each("setting", ACTING, ids=label)
@few
@given(seed=seeds, garbage=st.sampled_from([INF, -INF, float("nan"), 1e30, -3.0]))
def test_garbage_in_padding_changes_nothing(setting, seed, garbage):
    clean = batch_of(seed)
    clean = clean.set(advantages=clean.token_advantages * clean.mask)
    dirty = put(clean, **{n: torch.where(clean.valid, leaf(clean, n), garbage) for n in TOKEN_FIELDS})
    (loss, grads, metrics), (loss2, grads2, metrics2) = run(setting, clean), run(setting, dirty)
    same(loss, loss2)
    for name in grads:
        same(grads[name], grads2[name])
        assert (grads2[name][~clean.valid] == 0).all()
    same(metrics, metrics2)


@each("setting", ACTING, ids=label)
@few
@given(seed=seeds)
def test_the_order_of_rows_does_not_matter(setting, seed):
    batch = batch_of(seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    (loss, grads, metrics), (loss2, grads2, metrics2) = run(setting, batch), run(setting, rows_of(batch, order))
    same(loss, loss2, 1e-12)
    for name in grads:
        same(pick(grads[name], order), grads2[name], 1e-12)
    same(metrics, metrics2, 1e-6)


@each("setting", ADVANTAGE, ids=label)
@few
@given(seed=seeds)
def test_the_order_of_rows_does_not_matter_to_advantages(setting, seed):
    batch = batch_of(seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    before = objective(setting).rollout(batch).advantages
    same(before[order], objective(setting).rollout(rows_of(batch, order)).advantages, 1e-12)


@each("setting", ACTING, ids=label)
@each("dtype", [torch.float32, torch.float64], ids=str)
@few
@given(seed=seeds)
def test_infinite_log_probs_give_finite_values_and_gradients(setting, dtype, seed):
    batch = batch_of(seed, dtype=dtype)
    g = torch.Generator().manual_seed(seed)

    def extreme(x, *values):
        for value in values:
            x = torch.where((torch.rand(x.shape, generator=g) < 0.3) & batch.valid, torch.tensor(value, dtype=dtype), x)
        return x

    batch = batch.set(
        logps=extreme(batch.logps, -INF, -1e6),
        old_logps=extreme(batch.old_logps, -INF, INF),
        sampler_logps=extreme(batch.sampler_logps, -INF, INF, float("nan")),
        ref_logps=extreme(batch.ref_logps, -INF, INF),
    )
    loss, grads, metrics = run(setting, batch)
    assert loss.isfinite()
    assert all(x.isfinite().all() for x in [*grads.values(), *metrics.values()])


def degenerate(name):
    batch = batch_of(3)
    if name == "one fully masked row":
        mask = batch.mask.clone()
        mask[2] = 0
        return batch.set(mask=mask)
    if name == "nothing valid":
        return batch.set(mask=torch.zeros_like(batch.mask), tokens=torch.zeros(()))
    if name == "one token":
        return batch_of(4, rows=1, width=1)
    if name == "one valid token":
        mask = torch.zeros_like(batch.mask)
        mask[0, 0] = 1
        return batch.set(mask=mask)
    if name == "zero advantages":
        return batch.set(advantages=torch.zeros(6, dtype=torch.float64))
    if name == "no old policy":
        return batch.set(old_logps=batch.logps.clone(), sampler_logps=batch.logps.clone())
    return batch.set(entropy=torch.zeros_like(batch.entropy), old_entropy=torch.zeros_like(batch.entropy))


KNOBS = ("gain", "generation")
"""Metrics that are numbers of the run, and measure nothing."""
NONE_KEPT = "high_entropy/threshold"
"""Undefined where a share of the tokens, rounded down, is none of them."""
CASES = ("one fully masked row", "nothing valid", "one token", "one valid token")
CASES += ("zero advantages", "no old policy", "no entropy left")


@each("case", CASES)
@each("setting", ACTING, ids=label)
def test_degenerate_batches_give_finite_values_and_no_gradient_where_nothing_is_valid(setting, case):
    batch = degenerate(case)
    loss, grads, metrics = run(setting, batch)
    assert loss.isfinite() and all(g.isfinite().all() for g in grads.values())
    assert all((g[~batch.valid] == 0).all() for g in grads.values())
    if case == "nothing valid":
        assert loss == 0
        assert all(value.isnan() for key, value in metrics.items() if key.rpartition("/")[2] not in KNOBS), metrics
    else:
        assert all(value.isfinite() for key, value in metrics.items() if key != NONE_KEPT), metrics


@each("setting", ADVANTAGE, ids=label)
def test_advantages_are_zero_where_there_is_nothing_to_compare(setting):
    o, batch = objective(setting), batch_of(1)
    if o.advantages[-1].term.compares:
        if setting[2].get("scale") != "batch":
            lonely = o.rollout(batch.set(groups=torch.arange(6))).advantages
            same(lonely, torch.zeros_like(lonely))
        alike = torch.full((6, 2), 0.3, dtype=torch.float64)
        even = o.rollout(batch.set(rewards=alike[:, 0], reward_parts=alike)).advantages
        same(even, torch.zeros_like(even), 1e-12)
    unscored = o.rollout(batch.set(rewards=torch.full((6,), torch.nan, dtype=torch.float64))).advantages
    same(unscored, torch.zeros_like(unscored))


@each("setting", ADVANTAGE, ids=label)
def test_a_completion_without_a_reward_gets_zero_and_does_not_move_the_others(setting):
    rewards = torch.tensor([1.0, 0.0, torch.nan, 0.5, 2.0, 1.0], dtype=torch.float64)
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    batch, kept = batch_of(1, rewards=rewards, groups=groups), torch.tensor([0, 1, 3, 4, 5])
    a = objective(setting).rollout(batch).advantages
    without = objective(setting).rollout(rows_of(batch, kept)).advantages
    assert (a[2] == 0).all()
    same(a[kept], without, 1e-12)


@each("setting", WEIGHT, ids=label)
@few
@given(seed=seeds)
def test_weights_are_detached_and_not_negative_and_scale_the_policy_gradient_of_their_token(setting, seed):
    batch = with_leaves(batch_of(seed))
    batch = batch.set(advantages=batch.advantages.abs() * torch.tensor([1.0, -1.0]).repeat(3))  # both signs, always
    o = objective(setting)
    weight, _ = o.weight(batch, o.rollout(batch.detached()).stats)
    assert not weight.requires_grad
    assert (weight >= 0).all() and weight.shape == batch.mask.shape
    loss, _ = total(o, batch, o.rollout(batch.detached()).stats)
    plain, _ = total(objective(("loss", "unclipped", {})), batch, {})
    assert (weight[batch.valid] != 1).any()
    gradient = gradients(loss, batch)["logps"]
    same(gradient, weight * gradients(plain, batch)["logps"], 1e-12)
    if not o.weights[0].term.smooth:
        stopped = (weight == 0) & batch.valid
        assert stopped.any()
        assert (gradient[stopped] == 0).all()


@each("setting", PENALTY, ids=label)
@few
@given(seed=seeds)
def test_every_penalty_has_a_gradient(setting, seed):
    o, batch = objective(setting), with_leaves(batch_of(seed))
    batch = batch.set(advantages=batch.advantages.abs() * torch.tensor([1.0, -1.0]).repeat(3))  # both signs, always
    stats = prepared(o, batch)
    value, _ = o.penalty(o.penalties[0], batch if o.sampler is None else with_extra(batch), stats)
    assume(setting[1] != "ent_smooth" or value.abs().sum() > 0)  # every sequence may lie inside of its band
    assert sum(g.abs().sum() for g in gradients(value.sum(), batch).values()) > 1e-6


@each("setting", PENALTY, ids=label)
def test_a_token_penalty_is_exactly_zero_in_padding(setting):
    o, batch = objective(setting), batch_of(7)
    dirty = batch.set(
        **{n: torch.where(batch.valid, getattr(batch, n), -3.0 - i) for i, n in enumerate(TOKEN_FIELDS[:3])}
    )
    value, _ = o.penalty(o.penalties[0], dirty, o.rollout(rollout_view(batch)).stats)
    if o.penalties[0].term.kind == "token":
        assert (value[~batch.valid] == 0).all() and (value[batch.valid] != 0).any()
    else:
        assert value.dim() == 0


SMOOTH = [s for s in WEIGHT if REGISTRIES["weights"][s[1]].smooth]
"""Weights that follow the current log-probs: detached, so a difference of the loss is not its gradient."""


@contextlib.contextmanager
def detached(held, replay):
    """Record what is detached, or give the recorded values again, in the order of the calls."""
    original, calls = torch.Tensor.detach, itertools.count()

    def detach(x):
        if replay:
            return held[next(calls)]
        held.append(original(x))
        return held[-1]

    torch.Tensor.detach = detach
    try:
        yield
    finally:
        torch.Tensor.detach = original


@each("setting", [s for s in ACTING if s not in SMOOTH], ids=label)
def test_gradients_agree_with_central_differences(setting):
    batch = with_leaves(batch_of(11, rows=4, width=4))
    o = objective(setting)
    stats = o.rollout(batch_of(11, rows=4, width=4)).stats
    # Where a term says that its gradient is not that of its value, the differences hold fixed what the term detaches.
    stops, held = o.loss.term.stops_gradient, []
    with detached(held, replay=False) if stops else contextlib.nullcontext():
        loss, _ = total(o, batch, stats)
    step = 1e-6
    for name, gradient in gradients(loss, batch).items():
        for i in range(gradient.numel()):
            moved = []
            for sign in (1, -1):
                x = leaf(batch, name).detach().clone()
                x.view(-1)[i] += sign * step
                with detached(held, replay=True) if stops else contextlib.nullcontext():
                    moved.append(total(o, put(batch, **{name: x.requires_grad_()}), stats)[0].item())
            slope = (moved[0] - moved[1]) / (2 * step)
            assert slope == pytest.approx(gradient.view(-1)[i].item(), rel=1e-5, abs=1e-8), (name, i)
