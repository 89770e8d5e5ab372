"""Entropy-dynamics formulas from the sums of the vocabulary pass, against the exact change on tabular softmax policies."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import entropies

from entropostat.rl.dynamics import (
    entropy_slope,
    excess_log_probability,
    mean_entropy_slope,
    one_logit_move,
    policy_covariance,
    policy_gradient_move,
    predicted_dh,
    predicted_dh_of_one_logit,
)
from entropostat.rl.vocab import Tiles, Wanted, vocab_statistics

STATES, ACTIONS = 40, 17
DRAW = torch.Generator().manual_seed(5)
LOGITS = 1.5 * torch.randn(STATES, ACTIONS, generator=DRAW, dtype=torch.float64)
TOKENS = torch.randint(ACTIONS, (STATES,), generator=DRAW)
MOVES = torch.randn(STATES, generator=DRAW, dtype=torch.float64)
SAMPLED = torch.nn.functional.one_hot(TOKENS, ACTIONS).double()
RATES = (1e-2, 1e-3)


def statistics(logits, tokens=TOKENS):
    wanted = Wanted(("logp", "entropy", "sum_p2", "sum_p2_logp"))
    return vocab_statistics(logits, torch.eye(ACTIONS).double(), tokens, wanted, tiles=Tiles(16, 5))


def full(logits, tokens=TOKENS, moves=MOVES):
    s = statistics(logits, tokens)
    return predicted_dh(s.logp, s.entropy, s.sum_p2, s.sum_p2_logp, moves)


def one_logit(logits):
    s = statistics(logits)
    return predicted_dh_of_one_logit(s.logp, s.entropy, MOVES)


STEPS = {
    "one logit": (MOVES.unsqueeze(1) * SAMPLED, one_logit),
    "full softmax": (MOVES.unsqueeze(1) * (SAMPLED - LOGITS.softmax(1)), full),
}


@pytest.mark.parametrize("step, predict", STEPS.values(), ids=STEPS.keys())
def test_the_predicted_entropy_change_is_exact_up_to_second_order(step, predict):
    slope = predict(LOGITS)
    errors = []
    for rate in RATES:
        change = entropies(LOGITS + rate * step) - entropies(LOGITS)
        errors.append((change - rate * slope).abs().sum())
        assert errors[-1] < 2 * rate * change.abs().sum()
    assert float(errors[0] / errors[1]) == pytest.approx(100, rel=0.1)


def test_the_one_logit_form_misses_what_the_other_logits_do():
    step, _ = STEPS["full softmax"]
    s = statistics(LOGITS)
    own = one_logit_move(s.logp, torch.ones(STATES).double(), MOVES)
    change = (entropies(LOGITS + 1e-4 * step) - entropies(LOGITS)) / 1e-4
    missed = (change - predicted_dh_of_one_logit(s.logp, s.entropy, own)).norm()
    assert missed > 100 * (change - full(LOGITS)).norm()
    torch.testing.assert_close(own, step.gather(1, TOKENS.unsqueeze(1))[:, 0])


def test_punishing_a_token_likelier_than_exp_minus_entropy_raises_entropy_and_rewarding_it_lowers_it():
    s = statistics(LOGITS)
    likely = s.logp > -s.entropy
    assert likely.any() and (~likely).any()
    assert torch.equal(entropy_slope(s.logp, s.entropy) > 0, likely)
    for sign in (1, -1):
        change = entropies(LOGITS + 1e-5 * sign * SAMPLED) - entropies(LOGITS)
        assert torch.equal(change < 0, likely if sign > 0 else ~likely)


def test_an_advantage_that_ignores_the_token_leaves_entropy_alone_on_average():
    every = torch.arange(ACTIONS)
    for logits in LOGITS[:5]:
        unit = full(logits.expand(ACTIONS, -1), every, 1.0)
        assert abs(float((logits.softmax(0) * unit).sum())) < 1e-12
        assert float(unit.abs().max()) > 1e-3


def test_the_average_of_the_slopes_needs_only_the_sums():
    s = statistics(LOGITS)
    p, logps = LOGITS.softmax(1), LOGITS.log_softmax(1)
    slopes = p * excess_log_probability(logps, s.entropy.unsqueeze(1))
    assert slopes.sum(1).abs().max() < 1e-12
    torch.testing.assert_close(mean_entropy_slope(s.entropy, s.sum_p2, s.sum_p2_logp), (p * slopes).sum(1))


def test_the_mean_of_all_sampled_steps_is_the_covariance_of_the_exact_one():
    logits, reward = LOGITS[0], MOVES[:ACTIONS]
    logps = logits.log_softmax(0)
    sampled = full(logits.expand(ACTIONS, -1), torch.arange(ACTIONS), reward)
    exact = -policy_covariance(logps, policy_gradient_move(logps, reward))
    torch.testing.assert_close((logps.exp() * sampled).sum(), exact)


def test_an_impossible_token_and_a_decided_state_predict_finite_numbers():
    logp = torch.tensor([-torch.inf, 0.0])
    zero = torch.zeros(2)
    for predicted in (
        predicted_dh(logp, zero, torch.ones(2), zero, 1.0),
        predicted_dh_of_one_logit(logp, zero, 1.0),
        one_logit_move(logp, torch.ones(2), torch.ones(2)),
    ):
        assert torch.isfinite(predicted).all()
    assert float(predicted_dh(logp, zero, torch.ones(2), zero, 1.0)[1]) == 0
    log_probs = torch.tensor([0.0, -torch.inf])
    assert float(policy_covariance(log_probs, torch.tensor([1.0, 2.0]))) == 0
