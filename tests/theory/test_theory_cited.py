"""Where FIPO, ASPO, BAPO and entropy smoothing move entropy, in exact expectation on tabular policies."""

from __future__ import annotations

import pytest
import torch
from theory.tabular import SEEDS, draw, entropies, gain, slopes

from entropostat.rl.batch import TokenBatch
from entropostat.rl.objective import Objective
from entropostat.rl.registry import PENALTIES


def stepped(case, action, by):
    """The policy after updates that have moved one action of the first state, and advantages of that action alone."""
    at = case.logits.clone()
    at[0, action] += by
    values = torch.zeros_like(case.reward)
    values[0, action] = 1.0
    return at, values


def ratio(case, at, action):
    return float((at.log_softmax(1) - case.logits)[0, action].exp())


@pytest.mark.parametrize("seed", SEEDS[:10])
def test_fipo_does_nothing_in_the_first_update_and_then_speeds_what_has_become_likelier_whichever_way_entropy_goes(
    seed,
):
    case, fipo = draw(seed), [("fipo", {})]
    assert (gain(case, weights=fipo) == 0).all()
    for action in range(6):
        for size in (1.0, -1.0):
            at, values = stepped(case, action, 0.6)
            plain = slopes(case, at=at, values=size * values)[0]
            found = gain(case, at=at, values=size * values, weights=fipo)[0]
            want = 0.2 if ratio(case, at, action) > 1.2 else ratio(case, at, action) - 1
            torch.testing.assert_close(found, want * plain)
            at, values = stepped(case, action, -0.6)
            assert gain(case, at=at, values=size * values, weights=fipo)[0] == 0


@pytest.mark.parametrize("by", [0.1, -0.5])
@pytest.mark.parametrize("seed", SEEDS[:10])
def test_aspo_slows_rewarded_actions_ahead_and_speeds_those_behind_by_the_square_of_their_ratio_in_the_same_direction(
    seed, by
):
    case = draw(seed)
    for action in range(6):
        at, values = stepped(case, action, by)
        r = ratio(case, at, action)
        plain, found = (slopes(case, at=at, values=values, loss=(loss, {}))[0] for loss in ("ppo_clip", "aspo"))
        assert 1 / 3 < r < 1.2 and (r > 1) is (by > 0)
        torch.testing.assert_close(found, plain / r**2)
        punished = [slopes(case, at=at, values=-values, loss=(loss, {}))[0] for loss in ("ppo_clip", "aspo")]
        torch.testing.assert_close(*punished)


RARE = 5


@pytest.mark.parametrize("punishment, inside", [(0.0, False), (3.0, True)])
def test_bapo_raises_entropy_by_a_rewarded_rare_action_above_its_first_bound_only_where_punishment_outweighs_reward(
    punishment, inside
):
    raised = 0
    for seed in SEEDS:
        case = draw(seed, states=1)
        order = case.counts[0].argsort(descending=True, stable=True)
        at, values = stepped(case, int(order[RARE]), 0.5)
        assert 1.2 < ratio(case, at, int(order[RARE])) < 2
        alone = slopes(case, at=at, values=values, loss=("bapo", {}))[0]
        assert alone == 0
        values[0, order[0]] = -punishment
        both = slopes(case, at=at, values=values, loss=("bapo", {}))[0]
        shut = slopes(case, at=at, values=values, loss=("bapo", {"target": 0.0}))[0]
        assert bool(both - shut > 1e-6) is inside
        raised += inside
    assert raised == (len(SEEDS) if inside else 0)


def test_entropy_smoothing_pulls_every_state_towards_its_band_and_leaves_those_inside_alone():
    below = above = 0
    for seed in SEEDS:
        case = draw(seed)
        h = entropies(case.logits)
        history = float(h.mean())
        found = gain(case, penalties=[("ent_smooth", {"history": history, "coef": 0.5})])
        low, high = h < 0.8 * history, h > 1.2 * history
        assert (found[low] > 1e-5).all() and (found[high] < -1e-5).all() and (found[~(low | high)] == 0).all()
        below, above = below + int(low.sum()), above + int(high.sum())
    assert min(below, above) > 10


def test_the_released_smoothing_changes_the_loss_and_moves_nothing():
    for seed in SEEDS[:10]:
        case = draw(seed)
        released = {"history": float(entropies(case.logits).mean()), "coef": 0.5, "reference": True}
        assert (gain(case, penalties=[("ent_smooth", released)]) == 0).all()
        entropy = entropies(case.logits).unsqueeze(0)
        batch = TokenBatch(logps=-entropy, mask=torch.ones_like(entropy), entropy=entropy)
        value = PENALTIES.build("ent_smooth", released | {"low": 1.0, "high": 1.0})(batch)[0]
        torch.testing.assert_close(value, torch.full_like(entropy, 0.05))


def era_batch(z, old, actions, rewards, k):
    """One token each, in one state; ``z`` steps, ``old`` generated."""
    logp, before = z.log_softmax(0), old.log_softmax(0)
    shape = (len(actions), 1)
    return TokenBatch(
        logps=logp[actions].view(shape),
        old_logps=before[actions].view(shape),
        logit=z[actions].view(shape),
        lse={t: (z / t).logsumexp(0).expand(shape) for t in (1 / k, k)},
        entropy=entropies(z).expand(shape),
        old_entropy=entropies(old).expand(shape),
        mask=torch.ones(shape, dtype=torch.float64),
        advantages=rewards.view(shape),
    )


def era_gradient(z, actions, rewards, old=None, **options):
    o = Objective.build({"loss": ("era", "era", {"k": 2.0, **options})})
    z, old = z.clone().requires_grad_(), (z if old is None else old).detach()
    stats = o.rollout(era_batch(old, old, actions, rewards, 2.0)).stats
    loss = o.token_loss(era_batch(z, old, actions, rewards, 2.0), stats)[0].mean()
    return torch.autograd.grad(loss, z)[0]


def test_era_trains_the_policy_at_the_inverse_temperature_and_its_optimum_leaves_the_sampler_more_entropy():
    for seed in SEEDS[:10]:
        case = draw(seed, states=1)
        z, (_, actions) = case.logits[0], case.all()
        h, one = float(entropies(z)), torch.ones(len(actions), dtype=torch.float64)
        every = torch.nn.functional.one_hot(actions, 6).double()
        for where, rate in ({"sharpen_below": h + 0.1}, 2.0), ({"flatten_above": h - 0.1, "sharpen_below": 0.0}, 0.5):
            want = -rate * (every - (rate * z).softmax(0)).mean(0)
            torch.testing.assert_close(era_gradient(z, actions, one, **where), want)
            scaled = era_gradient(z, actions, one, scale_advantages=True, **where)
            torch.testing.assert_close(scaled, want / rate)
            punished = era_gradient(z, actions, -one, **where)
            torch.testing.assert_close(punished, (every - z.softmax(0)).mean(0))
        between = {"sharpen_below": h - 0.1, "flatten_above": h + 0.1}
        torch.testing.assert_close(era_gradient(z, actions, one, **between), -(every - z.softmax(0)).mean(0))
        # Nothing is left to gain where the activated policy has the shares of what is rewarded: at z / 2.
        rest = era_gradient(z / 2, actions, one, sharpen_below=10.0)
        torch.testing.assert_close(rest, torch.zeros_like(rest))
        assert entropies(z / 2) > entropies(z) + 1e-3


def test_the_ratio_of_era_is_that_of_the_activated_policies_and_starts_at_one():
    case = draw(3, states=1)
    old, (_, actions) = case.logits[0], case.all()
    one = torch.ones(len(actions), dtype=torch.float64)
    z = old + 0.2 * torch.randn(6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    o = Objective.build({"loss": ("era", "era", {"sharpen_below": 10.0, "epsilon": 0.999, "epsilon_high": 50.0})})
    stats = o.rollout(era_batch(old, old, actions, one, 2.0)).stats
    torch.testing.assert_close(o.token_loss(era_batch(old, old, actions, one, 2.0), stats)[0], -one.view(-1, 1))
    ratio = ((2 * z).log_softmax(0) - (2 * old).log_softmax(0)).exp()[actions]
    found = o.token_loss(era_batch(z, old, actions, one, 2.0), stats)[0]
    torch.testing.assert_close(found, -ratio.view(-1, 1))
