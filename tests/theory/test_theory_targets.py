"""Terms that pull entropy or a divergence to a target, against exact numbers on tabular softmax policies."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from theory.tabular import entropies
from theory.test_theory_divergences import FORMULAS, A
from theory.test_theory_entropy import ACTIONS, LOGITS, tokens

from entropostat.rl.advantages.dcpo import DCPO
from entropostat.rl.batch import TokenBatch
from entropostat.rl.dynamics import mean_entropy_slope
from entropostat.rl.reduce import aggregate
from entropostat.rl.registry import ADVANTAGES, PENALTIES, WEIGHTS
from entropostat.rl.vocab import vocab_statistics
from entropostat.rl.vocab_sums import Wanted

NOW = float(entropies(LOGITS))


def slope(loss, z):
    return torch.autograd.grad(loss, z)[0]


def change(gradient, lr=1e-4):
    return float(entropies(LOGITS - lr * gradient) - entropies(LOGITS)) / lr


# ------------------------------------------------------------------------------------------ targeted entropy


def ter_gradient(target, scope):
    term = PENALTIES.build("ter", {"target": target, "coef": 0.3, "scope": scope})
    z = LOGITS.clone().requires_grad_()
    batch = tokens(z, old_entropy=entropies(LOGITS).expand(ACTIONS.shape))
    return slope(term(batch.set(stats=term.prepare(batch.detached())))[0], z)


@pytest.mark.parametrize("scope", ["rollout", "micro"])
def test_the_targeted_entropy_penalty_pulls_from_both_sides_with_one_force_and_rests_on_its_target(scope):
    below, above = (change(ter_gradient(NOW + d, scope)) for d in (0.2, -0.2))
    assert below > 1e-3
    assert above == pytest.approx(-below, rel=1e-2)
    assert change(ter_gradient(NOW + 0.4, scope)) == pytest.approx(below, rel=1e-9)
    z = LOGITS.clone().requires_grad_()
    torch.testing.assert_close(ter_gradient(NOW - 0.2, scope), slope(0.3 * (entropies(z) - NOW + 0.2).abs(), z))
    at = PENALTIES.build("ter", {"target": 0.5, "scope": scope})
    batch = tokens(LOGITS, entropy=torch.full(ACTIONS.shape, 0.5), old_entropy=torch.full(ACTIONS.shape, 0.5))
    assert at(batch.set(stats=at.prepare(batch)))[0] == 0


# ------------------------------------------------------------------------------------------ STEER

STATES, WORDS = 30, 11
DRAW = torch.Generator().manual_seed(3)
Z = 1.5 * torch.randn(STATES, WORDS, generator=DRAW, dtype=torch.float64)
PICKED = torch.randint(WORDS, (STATES,), generator=DRAW)
MOVES = torch.randn(STATES, generator=DRAW, dtype=torch.float64)
RATIOS = torch.exp(0.3 * torch.randn(STATES, generator=DRAW, dtype=torch.float64))


def sampled(scope):
    """One token from each state; with a ratio where the statistics are those of the current policy."""
    wanted = Wanted(("logp", "entropy", "sum_p2", "sum_p2_logp"))
    s = vocab_statistics(Z, torch.eye(WORDS).double(), PICKED, wanted)
    r = torch.ones(STATES).double() if scope == "rollout" else RATIOS
    fields = {"entropy": s.entropy, "sum_p2": s.sum_p2, "sum_p2_logp": s.sum_p2_logp}
    batch = TokenBatch(
        logps=s.logp.view(1, -1),
        old_logps=(s.logp - r.log()).view(1, -1),
        advantages=MOVES.view(1, -1),
        mask=torch.ones(1, STATES).double(),
        **{name: value.view(1, -1) for name, value in fields.items()},
    )
    steps = (r * MOVES).unsqueeze(1) * (torch.nn.functional.one_hot(PICKED, WORDS) - Z.softmax(1))
    measured = (entropies(Z + 1e-6 * steps) - entropies(Z - 1e-6 * steps)) / 2e-6
    return batch if scope == "micro" else batch.set(old_entropy=batch.entropy), measured


@pytest.mark.parametrize("scope", ["rollout", "micro"])
def test_the_full_omega_of_steer_is_the_measured_change_of_entropy(scope):
    batch, measured = sampled(scope)
    term = WEIGHTS.build("steer", {"omega": "full", "scope": scope})
    centre = mean_entropy_slope(batch.entropy, batch.sum_p2, batch.sum_p2_logp)
    torch.testing.assert_close(term._change(batch, batch.entropy, centre)[0], measured, rtol=1e-7, atol=1e-9)
    one_logit = WEIGHTS.build("steer", {"scope": scope})._change(batch, batch.entropy)[0]
    assert (one_logit - measured).norm() > 0.1 * measured.norm()


@pytest.mark.parametrize("scope", ["rollout", "micro"])
def test_with_the_full_omega_steer_slows_tokens_in_the_order_of_what_they_do_to_entropy(scope):
    batch, measured = sampled(scope)
    term = WEIGHTS.build("steer", {"omega": "full", "lambda_min": 0.5, "scope": scope})
    weight, metrics = term(batch.set(stats=term.prepare(batch)))
    size = measured.abs()
    assert torch.equal(weight[0].argsort(), size.argsort(descending=True))
    torch.testing.assert_close(weight[0], 0.5 ** (size / size.max()))
    torch.testing.assert_close(metrics["largest"], size.max())


# ------------------------------------------------------------------------------------------ DCPO


def dcpo_change(target, rewards, sampling_temperature=1.0, **options):
    """Change of entropy by one exact step on DCPO's advantages, after advantages of 0."""
    z, flat = LOGITS * sampling_temperature, ACTIONS[0]
    term = ADVANTAGES.build("dcpo", {"target": target, "sampling_temperature": sampling_temperature, **options})
    shape = (len(flat), 1)
    batch = TokenBatch(
        logps=LOGITS.log_softmax(0)[flat].unsqueeze(1),
        old_logps=LOGITS.log_softmax(0)[flat].unsqueeze(1),
        old_entropy=entropies(LOGITS).expand(shape),
        mask=torch.ones(shape).double(),
        rewards=rewards[flat],
        advantages=torch.zeros(len(flat)).double(),
        logit=z[flat].unsqueeze(1),
        lse={t: (z / t).logsumexp(0).expand(shape) for t in term.wanted.temperatures},
    )
    advantages, metrics = term(batch)
    leaf = LOGITS.clone().requires_grad_()
    return change(slope(-(advantages[:, 0] * leaf.log_softmax(0)[flat]).mean(), leaf)), metrics


@pytest.mark.parametrize("sampling_temperature", [1.0, 0.6])
def test_dcpo_moves_entropy_towards_its_target_from_both_sides_where_the_reward_is_neutral(sampling_temperature):
    right = torch.ones(5).double()
    up, cold = dcpo_change(NOW + 0.3, right, sampling_temperature)
    down, hot = dcpo_change(NOW - 0.3, right, sampling_temperature)
    assert up > 1e-3 and down < -1e-3
    assert (float(cold["temperature"]), float(hot["temperature"])) == (1.2, 0.8)
    near, _ = dcpo_change(NOW + 0.02, right, sampling_temperature)
    assert 0 < near < up
    assert dcpo_change(NOW, right, sampling_temperature)[0] == pytest.approx(0, abs=1e-9)


def test_dcpo_takes_the_step_towards_the_virtual_policy():
    _, metrics = dcpo_change(NOW + 0.3, torch.ones(5).double())
    alpha = 0.1 / 1.1
    assert float(metrics["alpha"]) == pytest.approx(alpha)
    virtual = (LOGITS / DCPO.t_high).softmax(0)
    step = alpha * (virtual - LOGITS.softmax(0))  # minus the gradient of the cross-entropy with it
    assert dcpo_change(NOW + 0.3, torch.ones(5).double())[0] == pytest.approx(change(-step), rel=1e-9)


# ------------------------------------------------------------------------------------------ SIREN


@pytest.mark.parametrize("reference", [False, True])
def test_siren_pulls_the_entropy_of_the_uncertain_states_from_both_sides_and_leaves_the_others_alone(reference):
    def step(anchor):
        term = PENALTIES.build("siren", {"anchor": anchor, "coef": 1.0, "top_k": WORDS, "reference": reference})
        z = Z.clone().requires_grad_()
        s = vocab_statistics(z, torch.eye(WORDS).double(), PICKED, term.wanted)
        batch = TokenBatch(
            logps=torch.zeros(1, STATES).double(),
            mask=torch.ones(1, STATES).double(),
            tokens=torch.tensor(float(STATES)),
            nucleus_entropy=s.nucleus_entropy.view(1, -1),
        )
        stats = term.prepare(batch.detached())
        return term._selected(batch)[1][0], slope(term(batch.set(stats=stats))[0], z), batch.nucleus_entropy.detach()[0]

    for anchor, sign in ((0.0, -1), (2.0, 1)):
        kept, gradient, nuclear = step(anchor)
        assert int(kept.sum()) == math.ceil(0.2 * (STATES - 1))
        assert nuclear[kept].min() > nuclear[~kept].max()
        assert (gradient[~kept] == 0).all()
        assert (torch.sign(entropies(Z - 1e-4 * gradient) - entropies(Z))[kept] == sign).all()


# ------------------------------------------------------------------------------------------ divergence in the reward

V = 3
STEPS = torch.Generator().manual_seed(8)
FIRST, SECOND = (torch.randn(shape, generator=STEPS, dtype=torch.float64) for shape in ((V,), (V, V)))
REF_FIRST, REF_SECOND = (torch.randn(shape, generator=STEPS, dtype=torch.float64) for shape in ((V,), (V, V)))
PATHS = torch.tensor(list(itertools.product(range(V), range(V))))
each = pytest.mark.parametrize("kind", FORMULAS)


def path_logps(first, second):
    """(V * V, 2) log-probs of the two tokens of every path."""
    a, b = PATHS.unbind(1)
    return torch.stack([first.log_softmax(0)[a], second.log_softmax(1)[a, b]], dim=1)


def exact_gradient(kind):
    """Of the divergence summed over the states of a path, expected over the policy's own paths."""
    first, second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()

    def at(z, ref):
        q = ref.softmax(-1)
        return (q * FORMULAS[kind](z.softmax(-1) / q)).sum(-1)

    total = at(first, REF_FIRST) + (first.softmax(0) * at(second, REF_SECOND)).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(total, [first, second])])


def policy_gradient(cost):
    """Expectation over all paths of the sum over tokens of cost * grad log pi."""
    first, second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()
    logps = path_logps(first, second)
    value = (logps.detach().sum(1).exp().unsqueeze(1) * cost * logps).sum()
    return torch.cat([g.flatten() for g in torch.autograd.grad(value, [first, second])])


def paths():
    logps = path_logps(FIRST, SECOND)
    return TokenBatch(
        logps=logps,
        old_logps=logps,
        ref_logps=path_logps(REF_FIRST, REF_SECOND),
        mask=torch.ones_like(logps),
        rewards=torch.zeros(len(PATHS)).double(),
        advantages=torch.zeros(len(PATHS)).double(),
    )


def cost_of(kind, **options):
    """What one unit of the term takes off the advantages."""
    term = ADVANTAGES.build("kl_reward", {"coef": 1.0, "divergence": kind, "alpha": A, **options})
    return -term(paths())[0]


@each
def test_the_expected_policy_gradient_is_that_of_the_whole_divergence(kind):
    torch.testing.assert_close(policy_gradient(cost_of(kind)), exact_gradient(kind), rtol=1e-9, atol=1e-9)


@each
def test_the_estimator_of_the_token_itself_in_the_reward_is_another_gradient(kind):
    batch = paths()
    value = PENALTIES.build("kl_ref", {"coef": 1.0, "divergence": kind, "alpha": A, "gradient": "pathwise"})(batch)[0]
    naive = value.flip(1).cumsum(1).flip(1)
    want = exact_gradient(kind)
    assert (policy_gradient(naive) - want).norm() > 0.1 * want.norm()
    torch.testing.assert_close(naive - value, cost_of(kind) - cost_of(kind, future=False))


@each
def test_without_the_future_it_is_the_gradient_of_the_penalty_in_the_loss(kind):
    first, second = FIRST.clone().requires_grad_(), SECOND.clone().requires_grad_()
    batch = paths().set(logps=path_logps(first, second))
    term = PENALTIES.build("kl_ref", {"coef": 1.0, "divergence": kind, "alpha": A})
    weights = batch.old_logps.sum(1, keepdim=True).exp()
    total = aggregate(term(batch)[0] * weights * 2 * len(PATHS), batch.mask)
    in_the_loss = torch.cat([g.flatten() for g in torch.autograd.grad(total, [first, second])])
    torch.testing.assert_close(policy_gradient(cost_of(kind, future=False)), in_the_loss, rtol=1e-9, atol=1e-12)
    assert (in_the_loss - exact_gradient(kind)).norm() > 0.01 * in_the_loss.norm()


def test_for_the_reverse_kl_it_is_k1_in_the_reward():
    batch = paths()
    x = batch.logps - batch.ref_logps
    torch.testing.assert_close(cost_of("reverse_kl", future=False), x)
    k1 = x.flip(1).cumsum(1).flip(1)
    torch.testing.assert_close(policy_gradient(k1), policy_gradient(cost_of("reverse_kl")), rtol=1e-9, atol=1e-12)


def test_what_a_token_pays_is_the_same_whatever_its_advantage():
    batch = paths().set(advantages=torch.arange(len(PATHS)).double())
    term = ADVANTAGES.build("kl_reward", {"coef": 0.5})
    taken = batch.token_advantages - term(batch)[0]
    torch.testing.assert_close(taken, 0.5 * cost_of("reverse_kl"))
