"""Each method's claim about entropy, against exact numbers on a tabular softmax policy.

A policy over V actions with rational probabilities n_a / N is enumerated as N tokens, action a n_a times: a uniform mean
over the tokens is then an exact expectation under the policy.
"""

from __future__ import annotations

import pytest
import torch
from theory.tabular import entropies

from entropostat.rl.batch import TokenBatch
from entropostat.rl.covariance import token_covariance
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import aggregate, masked_mean

COUNTS = torch.tensor([24, 9, 4, 2, 1])
REWARD = torch.tensor([1.0, -0.4, 0.3, -0.8, 0.6], dtype=torch.float64)
LOGITS = (COUNTS.double() / COUNTS.sum()).log()
ACTIONS = torch.repeat_interleave(torch.arange(5), COUNTS).view(1, -1)


def advantage(logits=LOGITS, reward=REWARD):
    return reward - (logits.softmax(0) * reward).sum()


def tokens(logits, old=LOGITS, values=None, **changes):
    """All tokens of the old policy, seen by the policy with these logits."""
    values = advantage(old) if values is None else values
    return TokenBatch(
        logps=logits.log_softmax(-1)[ACTIONS],
        old_logps=old.log_softmax(-1)[ACTIONS],
        advantages=values[ACTIONS],
        mask=torch.ones(ACTIONS.shape, dtype=torch.float64),
        entropy=entropies(logits).expand(ACTIONS.shape),
        tokens=torch.tensor(float(ACTIONS.numel())),
    ).set(**changes)


def objective(**slots):
    spec = {"loss": ("unclipped", "unclipped", {})}
    return Objective.build(spec | {slot: [(kind, kind, options)] for slot, (kind, options) in slots.items()})


def after_step(o, logits, lr, old=LOGITS):
    """Logits after one exact gradient step of the objective."""
    z = logits.clone().requires_grad_()
    batch = tokens(z, old)
    loss = aggregate(o.token_loss(batch)[0], batch.mask)
    for part in o.penalties:
        if part.term.kind == "scalar":
            loss = loss + o.penalty(part, batch, {})[0]
    return (z - lr * torch.autograd.grad(loss, z)[0]).detach()


def predicted(values):
    """-Cov over the policy of log pi and these values, by the project's own covariance."""
    batch = tokens(LOGITS, values=values)
    return -masked_mean(token_covariance(batch), batch.mask)


def policy_gradient(lr):
    return after_step(objective(), LOGITS, lr)


def natural_gradient(lr):
    return LOGITS + lr * advantage()


THEOREMS = {
    "policy gradient (theorem 1)": (policy_gradient, lambda: LOGITS.softmax(0) * advantage()),
    "natural policy gradient (theorem 2)": (natural_gradient, advantage),
}


@pytest.mark.parametrize("step, moves", THEOREMS.values(), ids=THEOREMS.keys())
def test_entropy_changes_by_minus_lr_times_the_covariance_up_to_second_order(step, moves):
    slope = predicted(moves())
    assert abs(slope) > 1e-2
    errors = []
    for lr in (1e-2, 1e-3):
        change = entropies(step(lr)) - entropies(LOGITS)
        assert torch.sign(change) == torch.sign(slope)
        errors.append(float((change - lr * slope).abs()))
    assert errors[0] < 0.05 * 1e-2 * abs(slope)
    assert errors[0] / errors[1] == pytest.approx(100, rel=0.1)


def test_rewarding_the_likely_lowers_entropy_and_rewarding_the_unlikely_raises_it():
    likely, unlikely = torch.zeros(5, dtype=torch.float64), torch.zeros(5, dtype=torch.float64)
    likely[0], unlikely[4] = 1.0, 1.0
    for reward, sign in ((likely, -1), (unlikely, 1)):
        a = advantage(reward=reward)
        assert torch.sign(predicted(a)) == sign
        assert torch.sign(entropies(LOGITS + 1e-3 * a) - entropies(LOGITS)) == sign


REF = torch.tensor([-0.3, 0.9, 0.1, -1.0, 0.4], dtype=torch.float64)
OFF = LOGITS + torch.tensor([0.2, -0.3, 0.4, 0.1, -0.5], dtype=torch.float64)


def divergence(p, q):
    """KL of categorical distributions by their logits."""
    return (p.softmax(0) * (p.log_softmax(0) - q.log_softmax(0))).sum()


def expected_penalty(gradient, at):
    """Value and gradient of the expectation of kl_ref over the old policy's tokens."""
    z = at.clone().requires_grad_()
    o = objective(penalties=("kl_ref", {"coef": 1.0, "gradient": gradient}))
    batch = tokens(z, ref_logps=REF.log_softmax(0)[ACTIONS])
    value = aggregate(o.penalty(o.penalties[0], batch, {})[0], batch.mask)
    return value.detach(), torch.autograd.grad(value, z)[0]


def exact(at, forward=False):
    z = at.clone().requires_grad_()
    value = divergence(REF, z) if forward else divergence(z, REF)
    return value.detach(), torch.autograd.grad(value, z)[0]


@pytest.mark.parametrize("at", [LOGITS, OFF], ids=["on-policy", "off-policy"])
def test_the_ratio_corrected_estimator_is_the_reverse_kl_in_value_and_gradient(at):
    value, gradient = expected_penalty("exact", at)
    want_value, want = exact(at)
    torch.testing.assert_close(value, want_value, rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, want, rtol=1e-9, atol=1e-12)


def test_the_pathwise_estimator_has_the_gradient_of_the_forward_kl_and_not_of_the_reverse_one():
    value, gradient = expected_penalty("pathwise", LOGITS)
    torch.testing.assert_close(value, exact(LOGITS)[0], rtol=1e-9, atol=1e-12)
    torch.testing.assert_close(gradient, exact(LOGITS, forward=True)[1], rtol=1e-9, atol=1e-12)
    reverse = exact(LOGITS)[1]
    assert (gradient - reverse).norm() > 0.1 * reverse.norm()


@pytest.mark.parametrize("start", [LOGITS, OFF], ids=["peaked", "other"])
def test_an_entropy_bonus_raises_entropy_and_a_negative_one_lowers_it(start):
    for coef, sign in ((0.1, 1), (-0.1, -1)):
        bonus = objective(penalties=("entropy_bonus", {"coef": coef}))
        change = entropies(after_step(bonus, start, 0.1)) - entropies(after_step(objective(), start, 0.1))
        assert torch.sign(change) == sign


def test_the_entropy_bonus_moves_entropy_by_the_square_of_its_gradient():
    z = LOGITS.clone().requires_grad_()
    (slope,) = torch.autograd.grad(entropies(z), z)
    bonus = objective(penalties=("entropy_bonus", {"coef": 0.5}))
    lr = 1e-4
    change = entropies(after_step(bonus, LOGITS, lr)) - entropies(after_step(objective(), LOGITS, lr))
    assert float(change / lr) == pytest.approx(float(0.5 * slope.square().sum()), rel=1e-3)


def collapse(o):
    """How much entropy two steps on one rollout cost; the second one is off-policy."""
    first = after_step(objective(), LOGITS, 0.5)
    return float(entropies(first) - entropies(after_step(o, first, 0.5)))


@pytest.mark.parametrize(
    "slots",
    [
        {"weights": ("clip_cov", {"low": 0.02, "high": 1e9, "fraction": 0.3, "scope": "micro"})},
        {"penalties": ("kl_cov", {"fraction": 0.3, "coef": 1.0, "scope": "micro"})},
    ],
    ids=["clip_cov", "kl_cov"],
)
def test_acting_on_the_covariance_tail_keeps_entropy_that_plain_policy_gradient_loses(slots):
    a = advantage()
    assert predicted(a) < 0 and collapse(objective()) > 1e-3
    assert collapse(objective(**slots)) < 0.9 * collapse(objective())


def test_kl_cov_holds_only_tokens_of_the_covariance_tail():
    o = objective(penalties=("kl_cov", {"fraction": 0.3, "scope": "micro"}))
    batch = tokens(after_step(objective(), LOGITS, 0.5))
    value, _ = o.penalty(o.penalties[0], batch, {})
    cov = token_covariance(batch)
    assert cov[value > 0].min() >= cov[value == 0].max()


def test_high_entropy_trains_the_uncertain_state_and_leaves_the_certain_one_alone():
    z = torch.stack([LOGITS, LOGITS * 6]).requires_grad_()  # the second state is nearly decided
    h = torch.distributions.Categorical(logits=z).entropy()
    rows = ACTIONS.expand(2, -1)
    batch = TokenBatch(
        logps=z.log_softmax(-1).gather(1, rows),
        old_logps=z.detach().log_softmax(-1).gather(1, rows),
        advantages=advantage()[rows],
        mask=torch.ones(rows.shape, dtype=torch.float64),
        entropy=h.unsqueeze(1).expand(rows.shape),
    )
    o = objective(weights=("high_entropy", {"fraction": 0.5, "scope": "micro"}))
    gradient = torch.autograd.grad(aggregate(o.token_loss(batch)[0], batch.mask), z)[0]
    assert gradient[0].abs().sum() > 1e-3
    assert (gradient[1] == 0).all()
