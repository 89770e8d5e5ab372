"""Generalised advantage estimation on a small chain of states, where every expectation is a sum over all completions.

Three states, three tokens; token 0 is EOS and pays what its state is worth, the others move on and pay nothing. Completions are
cut off after four tokens, and go on from there at the value of their last state.
"""

from __future__ import annotations

from dataclasses import dataclass

import pytest
import torch
from theory.test_theory_divergences import FORMULAS, A

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import ADVANTAGES

DRAW = torch.Generator().manual_seed(5)
STATES = TOKENS = 3
LENGTH = 4
POLICY, REFERENCE = torch.randn(2, STATES, TOKENS, generator=DRAW, dtype=torch.float64)
WORTH = torch.randn(STATES, generator=DRAW, dtype=torch.float64)
COEF = 0.3


@dataclass(frozen=True)
class Path:
    states: tuple[int, ...]
    """One more than tokens."""
    tokens: tuple[int, ...]

    @property
    def cut(self):
        return self.tokens[-1] != 0

    @property
    def reward(self):
        return 0.0 if self.cut else float(WORTH[self.states[-2]])


def moved(state, token):
    return (state + token) % STATES


def paths(states=(0,), tokens=()):
    """Every completion from the first state."""
    if tokens and (tokens[-1] == 0 or len(tokens) == LENGTH):
        return [Path(states, tokens)]
    return [p for a in range(TOKENS) for p in paths((*states, moved(states[-1], a)), (*tokens, a))]


ALL = paths()


def divergences(z, kind):
    """(S,) exact divergence of the policy with logits ``z`` from the reference in each state."""
    if kind is None:
        return torch.zeros(STATES, dtype=torch.float64)
    ref = REFERENCE.softmax(1)
    return (ref * FORMULAS[kind](z.softmax(1) / ref)).sum(1)


def state_values(gamma, kind):
    """(S,) exact values of the policy: the fixed point of one step ahead."""
    p = POLICY.softmax(1)
    step = torch.zeros(STATES, STATES, dtype=torch.float64)
    for s in range(STATES):
        for a in range(1, TOKENS):
            step[s, moved(s, a)] += gamma * p[s, a]
    return torch.linalg.solve(torch.eye(STATES) - step, p[:, 0] * WORTH - COEF * divergences(POLICY, kind))


def logp(z, path):
    return torch.stack([z.log_softmax(1)[s, a] for s, a in zip(path.states, path.tokens, strict=False)])


def objective(z, gamma, kind):
    """Expected discounted reward up to the cut, and from there the value that the policy has now."""
    total, worth = 0.0, state_values(gamma, kind)
    for path in ALL:
        n = len(path.tokens)
        earned = gamma ** (n - 1) * path.reward + (gamma**n * worth[path.states[-1]] if path.cut else 0.0)
        paid = sum(gamma**t * divergences(z, kind)[s] for t, s in enumerate(path.states[:n]))
        total = total + logp(z, path).sum().exp() * (earned - COEF * paid)
    return total


def batch(gamma, kind, holes=False):
    """All completions as rows; with ``holes`` a tool answers after every token, in columns full of garbage."""
    stride = 2 if holes else 1
    worth = state_values(gamma, kind)
    shape = (len(ALL), stride * LENGTH)
    fields = {name: torch.full(shape, torch.nan if holes else 0.0).double() for name in ("old", "ref")}
    mask = torch.zeros(shape).double()
    values = torch.full((shape[0], shape[1] + 1), torch.nan).double()
    for row, path in enumerate(ALL):
        at = stride * torch.arange(len(path.tokens))
        mask[row, at] = 1
        fields["old"][row, at], fields["ref"][row, at] = logp(POLICY, path), logp(REFERENCE, path)
        values[row, at] = worth[list(path.states[:-1])]
        values[row, at[-1] + 1] = worth[path.states[-1]]
    return TokenBatch(
        logps=fields["old"],
        old_logps=fields["old"],
        ref_logps=fields["ref"],
        mask=mask,
        rewards=torch.tensor([p.reward for p in ALL], dtype=torch.float64),
        old_values=values,
        truncated=torch.tensor([p.cut for p in ALL]),
    )


def term(gamma, lam, kind, **options):
    kl = {} if kind is None else {"kl_coef": COEF, "divergence": kind, "alpha": A}
    return ADVANTAGES.build("gae", {"gamma": gamma, "lam": lam, "whiten": False, **kl, **options})


def policy_gradient(advantages, mask, gamma):
    """Expectation of the sum over tokens of gamma^t A_t grad log pi_t."""
    z = POLICY.clone().requires_grad_()
    total = 0.0
    for row, path in enumerate(ALL):
        weights = gamma ** torch.arange(len(path.tokens)).double() * advantages[row][mask[row] > 0]
        total = total + logp(POLICY, path).sum().exp() * (weights * logp(z, path)).sum()
    return torch.autograd.grad(total, z)[0]


def exact_gradient(gamma, kind):
    z = POLICY.clone().requires_grad_()
    return torch.autograd.grad(objective(z, gamma, kind), z)[0]


KINDS = (None, *FORMULAS)
each = pytest.mark.parametrize("kind", KINDS, ids=lambda k: k or "no divergence")
decays = pytest.mark.parametrize("lam", [0.0, 0.6, 1.0])
discounts = pytest.mark.parametrize("gamma", [0.9, 1.0])


@each
@decays
@discounts
def test_with_exact_values_the_expected_policy_gradient_is_exact_whatever_lambda(gamma, lam, kind):
    b = batch(gamma, kind)
    gradient = policy_gradient(term(gamma, lam, kind)(b)[0], b.mask, gamma)
    torch.testing.assert_close(gradient, exact_gradient(gamma, kind), rtol=1e-9, atol=1e-10)


@each
@decays
@discounts
def test_with_exact_values_the_expected_return_of_a_state_is_its_value(gamma, lam, kind):
    b, worth = batch(gamma, kind), state_values(gamma, kind)
    returns = term(gamma, lam, kind).estimate(b)[1]
    for t in range(LENGTH):
        error = torch.zeros(STATES, dtype=torch.float64)
        for row, path in enumerate(ALL):
            if t < len(path.tokens):
                s = path.states[t]
                error[s] += logp(POLICY, path).sum().exp() * (returns[row, t] - worth[s])
        assert error.abs().max() < 1e-12


@each
def test_tool_output_between_tokens_and_garbage_in_it_change_nothing(kind):
    plain, holes = batch(0.9, kind), batch(0.9, kind, holes=True)
    for a, b in zip(term(0.9, 0.6, kind).estimate(plain), term(0.9, 0.6, kind).estimate(holes), strict=True):
        torch.testing.assert_close(a[plain.valid], b[holes.valid])
        assert (b[holes.invalid] == 0).all()


def test_with_lambda_one_the_return_is_what_a_finished_completion_earned():
    b = batch(0.9, "reverse_kl")
    returns = term(0.9, 1.0, "reverse_kl").estimate(b)[1]
    x = b.old_logps - b.ref_logps
    for row, path in enumerate(ALL):
        if not path.cut:
            n = len(path.tokens)
            earned = 0.9 ** (n - 1) * path.reward - sum(COEF * 0.9**t * x[row, t] for t in range(n))
            assert float(returns[row, 0]) == pytest.approx(float(earned), rel=1e-12)


def test_a_cut_completion_that_does_not_go_on_has_another_gradient():
    b = batch(1.0, None)
    gradient = policy_gradient(term(1.0, 0.6, None, bootstrap=False)(b)[0], b.mask, 1.0)
    assert (gradient - exact_gradient(1.0, None)).norm() > 0.003
    b = b.set(truncated=torch.zeros_like(b.truncated))
    torch.testing.assert_close(policy_gradient(term(1.0, 0.6, None)(b)[0], b.mask, 1.0), gradient)


@pytest.mark.parametrize("kind", FORMULAS)
def test_the_estimator_of_a_token_as_its_own_reward_is_another_gradient(kind):
    b, t = batch(1.0, kind), term(1.0, 1.0, kind)
    advantages, returns = t.estimate(b)
    naive = torch.where(b.valid, returns - b.old_values[:, :-1], 0.0)
    if kind == "reverse_kl":  # k1 is right, k3 is not
        torch.testing.assert_close(naive, advantages)
        x = torch.where(b.valid, b.old_logps - b.ref_logps, 0.0)
        naive = naive - COEF * (torch.exp(-x) - 1)
    want = exact_gradient(1.0, kind)
    assert (policy_gradient(naive, b.mask, 1.0) - want).norm() > 0.01 * want.norm()
