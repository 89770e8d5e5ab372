"""Which tokens Lp-Reg holds, by either rule and over every scope, and what it adds to their loss."""

from __future__ import annotations

import math

import pytest
import torch
from unit.rl_support import batch_of, objective, on_ranks, rollout_view, rows_of

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.penalties.lp_reg import LpReg, packed, threshold

P = torch.tensor([[0.90, 0.02, 0.50, 0.04], [0.03, 0.60, 0.01, 0.70]], dtype=torch.float64)
Q = torch.tensor([[0.95, 0.03, 0.60, 0.05], [0.00, 0.70, 0.02, 0.80]], dtype=torch.float64)
"""Proxy probability of each token; 0 where the filter drops it."""
MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]])


def logs(p):
    return torch.where(p > 0, p.clamp(min=1e-30).log(), -1e4)


def batch(**changes):
    return TokenBatch(
        logps=P.log(),
        old_logps=P.log(),
        mask=MASK,
        advantages=torch.full((2,), -1.0, dtype=torch.float64),
        min_p_logp=logs(Q),
        min_p_ids=torch.arange(2).expand(2, 4, 2),
        min_p_probs=torch.tensor([0.75, 0.25], dtype=torch.float64).expand(2, 4, 2),
        soft_logp=torch.full((2, 4), -2.0, dtype=torch.float64),
    ).set(**changes)


def regularised(term, seen):
    """Where the term alone has an effect."""
    value, metrics = term(seen.set(stats=term.prepare(seen)))
    return value != 0, metrics


def test_the_rarest_of_all_tokens_are_held_if_negative_and_not_dropped():
    term = LpReg(rho=0.5)
    delta = threshold(batch(), 0.5)
    assert float(delta) == pytest.approx(0.04)
    held, metrics = regularised(term, batch())
    assert held.tolist() == [[False, True, False, True], [False, False, True, False]]
    assert metrics["candidates"] == pytest.approx(4 / 7) and metrics["regularised"] == pytest.approx(3 / 7)
    labelled = term.prepare(batch())["soft_probs"].sum(2) > 0
    assert int(labelled.sum()) == 3  # none for the token that the filter drops
    kl = 0.75 * math.log(0.75) + 0.25 * math.log(0.25) + 2
    assert metrics["kl"] == pytest.approx(kl)
    value, _ = LpReg(rho=0.5, coef=0.3)(batch(stats=LpReg(rho=0.5).prepare(batch())))
    assert value[held].tolist() == pytest.approx([0.3 * kl] * 3)
    half = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert regularised(term, batch(advantages=half))[0].tolist() == [[False, True, False, True], [False] * 4]
    both, _ = regularised(LpReg(rho=0.5, rho_pos=0.2), batch(advantages=half))
    assert both.tolist() == [[False, True, False, True], [False, False, True, False]]
    assert not regularised(LpReg(rho=0.0), batch())[0].any()


def test_the_released_rule_counts_negative_tokens_alone_and_does_nothing_with_one():
    half = torch.tensor([-1.0, 1.0], dtype=torch.float64)
    term = LpReg(rho=0.5, rule="released", estimator="k3", scope="micro")
    held, metrics = regularised(term, batch(advantages=half))
    assert held.tolist() == [[False, True, False, True], [False] * 4]  # 2 of 4; of all tokens it would be 3
    assert metrics["candidates"] == pytest.approx(2 / 7)
    assert not regularised(LpReg(rho=0.4, rule="released", estimator="k3", scope="micro"), batch(advantages=half))[
        0
    ].any()
    likelier = batch(min_p_logp=logs(Q * torch.tensor([1, 0.5, 1, 1])))  # q < pi on the second tokens
    held, _ = regularised(LpReg(rho=0.5, rule="released", estimator="k3", scope="micro"), likelier)
    assert held.tolist() == [[False] * 4, [False, False, True, False]]
    assert regularised(LpReg(rho=0.5, estimator="k3", scope="micro"), likelier)[0][0, 1]


def test_k3_is_that_of_the_log_ratio_to_the_proxy_and_has_no_pull_beyond_ten():
    low = torch.tensor([[1e-9, 0.02, 0.5, 0.5], [0.5, 0.5, 0.5, 0.5]], dtype=torch.float64).log().requires_grad_()
    seen = batch(logps=low, min_p_logp=logs(torch.full((2, 4), 0.04, dtype=torch.float64)))
    term = LpReg(rho=0.3, coef=2.0, estimator="k3", scope="micro")
    value, _ = term(seen.set(stats=term.prepare(seen)))
    assert value[0].tolist() == pytest.approx([20.0, 2 * (2 - math.log(2) - 1), 0, 0])
    slope = torch.autograd.grad(value.sum(), low)[0]
    assert slope[0].tolist() == pytest.approx([0, 2 * (1 - 2), 0, 0])


@pytest.mark.parametrize("advantage", [-1.0, 1.0])
def test_the_released_rule_takes_the_clip_off_the_tokens_it_holds_and_off_no_others(advantage):
    logps = (P.log() + torch.tensor([0.5, 0.5, -0.5, -0.5])).clamp(max=-0.01).requires_grad_()
    seen = batch(logps=logps, advantages=torch.full((2,), advantage, dtype=torch.float64), clip=(0.8, 1.2))
    seen = seen.set(min_p_logp=seen.min_p_logp.clamp(max=0) + 1)  # above pi wherever it is kept
    side = {"rho_pos" if advantage > 0 else "rho": 0.7}
    options = {"coef": 0.0, "rule": "released", "estimator": "k3", "scope": "micro"} | {"rho": 0.0} | side
    term = LpReg(**options)

    def loss(kind, extra):
        spec = {"loss": (kind, kind, {}), "penalties": [("lp_reg", "lp_reg", options)] if extra else []}
        values = Objective.build(spec).token_loss(seen, {"lp_reg": term.prepare(seen)})[0]
        return values, torch.autograd.grad(values.sum(), logps)[0]

    held = term._candidates(seen.detached()) & (seen.min_p_logp > -5e3)
    assert held.any() and (MASK.bool() & ~held).any()
    for mine, free, clipped in zip(
        loss("ppo_clip", True), loss("unclipped", False), loss("ppo_clip", False), strict=True
    ):
        torch.testing.assert_close(mine, torch.where(held, free, clipped))
        assert (free != clipped)[held].any()
    assert not torch.equal(loss("ppo_clip", True)[0], loss("ppo_clip", False)[0])
    paper = LpReg(**(options | {"rule": "paper"}))
    assert (paper(seen.set(stats=paper.prepare(seen)))[0] == 0).all()
    soft = seen.set(clip=None)
    assert (term(soft.set(stats=term.prepare(soft)))[0] == 0).all()


def test_a_micro_batch_takes_its_own_percentile_of_the_current_policy_with_the_old_proxy():
    swapped = P.flip(0).log()
    term = LpReg(rho=0.3, estimator="k3", scope="micro")
    stats = term.prepare(batch())
    assert set(stats) == {"proxy_logp"}
    value, _ = term(batch(logps=swapped, stats=stats))
    expected = MASK.bool() & (P.flip(0) <= P.flip(0)[MASK.bool()].quantile(0.3)) & (Q > 0)
    assert torch.equal(value != 0, expected)
    rollout = LpReg(rho=0.3, estimator="k3")
    value, _ = rollout(batch(logps=swapped, stats=rollout.prepare(batch())))
    assert not torch.equal(value != 0, expected)


@pytest.mark.parametrize("rule", ["paper", "released"])
def test_scope_ranks_pools_the_micro_step_and_scope_micro_does_not(rule):
    whole = batch_of(9)
    parts = [rows_of(whole, slice(0, 2)), rows_of(whole, slice(2, 6))]

    def values(scope, views):
        term = LpReg(rho=0.4, estimator="k3", rule=rule, scope=scope)
        per_rank = on_ranks(
            [lambda r, v=v: term(v.set(reducer=r, stats={"proxy_logp": v.min_p_logp}))[0] for v in views]
        )
        return torch.cat(per_rank)

    alone = values("micro", [whole])
    assert torch.equal(values("ranks", parts), alone)
    assert not torch.equal(values("micro", parts), alone)


def test_proxies_of_the_chosen_tokens_are_packed_by_row():
    seen = batch_of(3, min_p_ids=torch.arange(6 * 7 * 3).view(6, 7, 3))
    chosen = torch.zeros_like(seen.valid)
    chosen[1, [2, 5]] = chosen[4, 0] = True
    columns = packed(seen, chosen)
    assert columns["soft_ids"].shape == (6, 2, 3)
    assert columns["soft_positions"][1].tolist() == [2, 5] and columns["soft_positions"][4, 0] == 0
    assert torch.equal(columns["soft_probs"][1], seen.min_p_probs[1, [2, 5]])
    assert torch.equal(columns["soft_ids"][1], seen.min_p_ids[1, [2, 5]])
    assert torch.equal(columns["soft_ids"][4, 0], seen.min_p_ids[4, 0])
    assert (columns["soft_probs"][[0, 2, 3, 5]] == 0).all() and (columns["soft_probs"][4, 1] == 0).all()
    none = packed(seen, torch.zeros_like(chosen))
    assert none["soft_probs"].shape == (6, 1, 3) and (none["soft_probs"] == 0).all()


def test_only_a_setting_that_reads_a_field_asks_for_it():
    def needs(**options):
        part = objective(("penalties", "lp_reg", options)).penalties[0]
        return sorted(part.needs), sorted(part.rollout_needs)

    assert needs() == (["soft_logp"], ["min_p_ids", "min_p_logp", "min_p_probs", "old_logps"])
    assert needs(estimator="k3") == ([], ["min_p_logp", "old_logps"])
    assert needs(proxy="current") == (["min_p_logp", "min_p_mass"], ["old_logps"])
    assert needs(proxy="current", estimator="k3", rule="released") == (["min_p_logp", "old_logps"], ["old_logps"])
    micro = objective(("penalties", "lp_reg", {"proxy": "current", "scope": "micro"}))
    assert "old_logps" not in micro.rollout_needs


def test_whole_old_distributions_of_tokens_that_no_rollout_selects_are_refused():
    with pytest.raises(ValueError, match=r"lp_reg\.scope: ranks with estimator full and proxy old"):
        LpReg(scope="ranks")


def test_a_row_whose_proxy_holds_nothing_is_left_alone_by_the_full_divergence():
    empty = batch(min_p_probs=torch.zeros(2, 4, 2), min_p_logp=torch.full((2, 4), -math.log(50)).double())
    held, metrics = regularised(LpReg(rho=0.5), empty)
    assert not held.any() and metrics["regularised"] == 0 and metrics["candidates"] > 0
    nothing = batch(min_p_mass=torch.zeros(2, 4).double())
    value, _ = LpReg(rho=0.5, proxy="current")(nothing.set(stats=LpReg(rho=0.5, proxy="current").prepare(nothing)))
    assert (value == 0).all()
    assert regularised(LpReg(rho=0.5, estimator="k3"), empty)[0].sum() == 4


def test_the_selection_of_the_rollout_holds_while_the_policy_moves():
    seen = batch_of(4)
    o = objective(("penalties", "lp_reg", {"rho": 0.5}))
    stats = o.rollout(rollout_view(seen)).stats
    first, _ = o.penalty(o.penalties[0], seen, stats)
    moved, _ = o.penalty(o.penalties[0], seen.set(logps=seen.logps.flip(0)), stats)
    assert (first != 0).any() and torch.equal(first, moved)
