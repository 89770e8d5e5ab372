"""Lp-Reg on a tabular softmax policy of one state: what it does to rare tokens, to noise, and to entropy."""

from __future__ import annotations

import functools

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate
from entropostat.rl.vocab import SoftLabels, Wanted, vocab_statistics

LOGITS = torch.tensor([0.55, 0.35, 0.06, 0.03, 0.006, 0.004], dtype=torch.float64).log()
MAIN, OTHER, RARE, RARER, *NOISE = range(6)
"""At kappa 0.02 the bar is 0.011: two rare tokens are reasonable, and two are noise."""
ACTIONS = torch.tensor([MAIN, OTHER, RARE, RARER, *NOISE])
ADVANTAGES = torch.tensor([0.5, 0.5, -1.0, -1.0, -1.0, -1.0], dtype=torch.float64)


def statistics(logits, wanted, soft=None):
    hidden = logits.expand(len(ACTIONS), -1)
    return vocab_statistics(hidden, torch.eye(6, dtype=torch.float64), ACTIONS, wanted, soft=soft)


def batch(logits, term, soft=None):
    wanted = Wanted(("logp",), min_p=term.kappa, kept=True, top_k=6, absolute=term.filter == "fixed")
    now = statistics(logits, wanted, soft)

    def column(x):
        return None if x is None else x.unsqueeze(1)

    return TokenBatch(
        logps=column(now.logp),
        old_logps=LOGITS.log_softmax(0)[ACTIONS].unsqueeze(1),
        mask=torch.ones(6, 1),
        advantages=ADVANTAGES,
        min_p_logp=column(now.min_p_logp),
        min_p_mass=column(now.min_p_mass),
        min_p_ids=column(now.min_p_ids),
        min_p_probs=column(now.min_p_probs),
        soft_logp=column(now.soft_logp),
    )


def steps(count, coef, rho=0.7, lr=1.0, **options):
    """Policies along a run on one generation, in which every token came once; probabilities (count + 1, 6)."""
    spec = {
        "loss": ("unclipped", "unclipped", {}),
        "penalties": [("lp_reg", "lp_reg", {"coef": coef, "rho": rho} | options)],
    }
    o = Objective.build(spec)
    term = o.penalties[0].term
    stats = o.rollout(batch(LOGITS, term)).stats
    soft = None
    if "soft_ids" in stats.get("lp_reg", {}):
        soft = SoftLabels(stats["lp_reg"]["soft_ids"][:, 0], stats["lp_reg"]["soft_probs"][:, 0])
    z, path = LOGITS.clone().requires_grad_(), [LOGITS.softmax(0)]
    for _ in range(count):
        seen = batch(z, term, soft)
        loss = aggregate(o.token_loss(seen, stats)[0], seen.mask)
        z = (z - lr * torch.autograd.grad(loss, z)[0]).detach().requires_grad_()
        path.append(z.detach().softmax(0))
    return torch.stack(path)


@functools.cache
def unheld():
    return steps(100, 0.0)


def entropy(p):
    return -(p * p.log()).sum(-1)


OLD = [
    {},
    {"estimator": "k3"},
    {"estimator": "k3", "scope": "micro"},
    {"rule": "released", "rho": 1.0},
    {"rule": "released", "rho": 1.0, "estimator": "k3", "scope": "micro"},
    {"filter": "fixed", "kappa": 0.011},
]


@pytest.mark.parametrize("options", OLD, ids=str)
def test_the_old_proxy_stops_the_decay_of_rare_tokens_lets_noise_go_and_keeps_entropy_up(options):
    plain, held = unheld(), steps(100, 4.0, **options)
    assert plain[-1, RARE] < 0.02 * plain[0, RARE]
    assert held[-1, RARE] > 0.2 * held[0, RARE] and held[-1, RARE] > 0.9 * held[50, RARE]
    assert (held[5:, RARE] > plain[5:, RARE]).all()
    assert (held[-1, NOISE] < 0.1 * held[0, NOISE]).all()
    assert entropy(held[-1]) > entropy(plain[-1]) + 0.1


def test_the_released_rule_with_a_small_share_finds_only_noise_and_is_inert():
    options = {"rule": "released", "rho": 0.7}
    assert torch.equal(steps(5, 4.0, **options), steps(5, 0.0, **options))


def test_a_current_proxy_takes_from_noise_alone_and_holds_no_rare_token():
    """It decays with the policy, and what it adds goes to the tokens by their probability: there is no way back."""
    plain, held = unheld(), steps(100, 4.0, proxy="current")
    first = [path[1] / path[1, MAIN] for path in (plain, held)]
    assert (held[1, NOISE] < plain[1, NOISE]).all()
    assert (held[1, RARE] / held[1, NOISE] > plain[1, RARE] / plain[1, NOISE]).all()
    assert first[1][RARE] < first[0][RARE]
    assert held[-1, RARE] < 0.02 * held[0, RARE]


@pytest.mark.parametrize("proxy", ["old", "current"])
def test_the_full_divergence_is_that_of_the_kept_part_from_the_whole_and_moves_logits_towards_it(proxy):
    z = (LOGITS + torch.tensor([0.3, -0.2, -0.4, 0.1, 0.2, 0.0])).requires_grad_()
    o = Objective.build(
        {"loss": ("unclipped", "unclipped", {}), "penalties": [("lp_reg", "lp_reg", {"rho": 0.7, "proxy": proxy})]}
    )
    term = o.penalties[0].term
    start = z.detach() if proxy == "current" else LOGITS
    kept = start.softmax(0) >= 0.02 * start.softmax(0).max()
    q = torch.where(kept, start.softmax(0), 0.0)
    q = q / q.sum()
    kl = (torch.special.xlogy(q, q) - q * z.log_softmax(0)).sum()
    stats = o.rollout(batch(LOGITS, term)).stats
    soft = (
        None
        if proxy == "current"
        else SoftLabels(stats["lp_reg"]["soft_ids"][:, 0], stats["lp_reg"]["soft_probs"][:, 0])
    )
    value, _ = o.penalty(o.penalties[0], batch(z, term, soft), stats)
    held = value[:, 0] != 0
    assert held[RARE] and held[RARER] and not held[MAIN] and not held[NOISE].any()
    torch.testing.assert_close(value[held, 0], kl.expand(int(held.sum())))
    (mine,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(mine, held.sum() * (z.detach().softmax(0) - q))
