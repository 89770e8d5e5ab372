"""Weights and losses on the sampler's log-probs, by hand: windows, unknown and impossible tokens, advantages of tokens."""

from __future__ import annotations

import math

import pytest
import torch

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import LOSSES, WEIGHTS

INF, NAN = float("inf"), float("nan")


def batch(ratios: list[list[float]], **changes: object) -> TokenBatch:
    """Trainer's probability 0.5 everywhere, the sampler's so that the ratio is as given; 0 is a masked token."""
    r = torch.tensor(ratios, dtype=torch.float64)
    logps = torch.full_like(r, math.log(0.5))
    sampled = torch.where(r == 0, 7.0, logps - r.log())
    plain = TokenBatch(
        logps=logps, old_logps=logps, sampler_logps=sampled, mask=(r != 0).double(), advantages=torch.ones(len(r))
    )
    return plain.set(**changes)


def weight(kind: str, ratios: list[list[float]], /, changes: dict[str, object] | None = None, **options: object):
    b = batch(ratios, **changes or {})
    found, metrics = WEIGHTS.build(kind, options)(b)
    return found[b.valid].tolist(), metrics


def near(values: list[float]):
    return pytest.approx(values, rel=1e-12)


def test_icepop_keeps_the_ratio_inside_its_window_ends_included_and_nothing_outside():
    ratios = [[0.49, 0.51, 1.0, 4.9, 5.1, 0.0]]
    found, metrics = weight("icepop", ratios)
    assert found == near([0, 0.51, 1.0, 4.9, 0])
    assert float(metrics["fraction"]) == pytest.approx(0.4) and float(metrics["mean"]) == pytest.approx(6.41 / 5)
    assert weight("icepop", [[1.0]], low=1.0, high=1.0)[0] == [1.0]
    assert weight("icepop", ratios, low=None, high=None)[0] == near([0.49, 0.51, 1.0, 4.9, 5.1])


def test_a_token_that_the_sampler_did_not_score_counts_as_one_on_which_both_agree():
    for kind, options in (("icepop", {}), ("truncated_is", {}), ("sequence_mask", {"low": 0.9, "high": 1.1})):
        b = batch([[1.05, 1.0]])
        b = b.set(sampler_logps=torch.tensor([[b.sampler_logps[0, 0], NAN]]))
        assert WEIGHTS.build(kind, options)(b)[0].tolist() == [near([1.05, 1.0])]
        assert WEIGHTS.build("rejection", {"threshold": 0.0, "over": "token"})(b)[0].tolist() == [[0, 1]]


@pytest.mark.parametrize("where", ["sampler", "trainer"])
def test_a_token_that_one_of_both_finds_impossible_has_weight_zero_and_does_not_take_its_completion_along(where):
    b = batch([[1.0, 1.0, 1.0]])
    field = "sampler_logps" if where == "sampler" else "old_logps"
    value = getattr(b, field).clone()
    value[0, 1] = -INF
    b = b.set(**{field: value})
    for kind, options in (
        ("icepop", {"low": None, "high": None}),
        ("truncated_is", {"cap": None}),
        ("sequence_mask", {}),
    ):
        assert WEIGHTS.build(kind, options)(b)[0].tolist() == [[1, 0, 1]], kind
    for estimator in ("k1", "k2", "k3"):
        assert WEIGHTS.build("rejection", {"estimator": estimator, "over": "token"})(b)[0].tolist() == [[1, 0, 1]]


def test_truncation_cuts_from_both_sides_and_at_the_level_of_sequences_cuts_the_product():
    ratios = [[0.1, 1.5, 3.0], [2.0, 2.0, 0.0]]
    assert weight("truncated_is", ratios, low=0.5)[0] == near([0.5, 1.5, 2.0, 2.0, 2.0])
    assert weight("truncated_is", ratios, level="sequence", cap=3.0)[0] == near([0.45] * 3 + [3.0] * 2)
    b = batch(ratios)
    term = WEIGHTS.build("truncated_is", {"cap": 3.0, "level": "sequence", "normalise": True, "scope": "micro"})
    found = term(b.set(stats=term.prepare(b)))[0]
    assert found[:, 0].mean() == pytest.approx(1) and found[1, 0] / found[0, 0] == pytest.approx(3 / 0.45)


def test_a_sequence_mask_looks_at_the_geometric_mean_or_the_product_and_keeps_the_ratios_of_the_tokens_or_its_own():
    ratios = [[2.0, 0.5, 1.0], [1.2, 1.2, 0.0], [1.05, 1.05, 1.05]]
    loose = {"low": 0.9, "high": 1.1}
    assert weight("sequence_mask", ratios, **loose)[0] == near([2.0, 0.5, 1.0, 0, 0, 1.05, 1.05, 1.05])
    found, metrics = weight("sequence_mask", ratios, window="product", carries="sequence", **loose)
    assert found == near([1.0, 1.0, 1.0, 0, 0, 0, 0, 0])
    assert float(metrics["fraction"]) == pytest.approx(2 / 3)
    wide, _ = weight("sequence_mask", ratios, window="product", carries="sequence", low=None, high=1.2)
    assert wide[5:] == near([1.05**3] * 3)


@pytest.mark.parametrize("over, rows", [("sum", [0, 0]), ("mean", [1, 0]), ("max", [0, 0])])
def test_rejection_by_sequences_counts_both_directions(over, rows):
    ratios = [[math.exp(0.3), math.exp(-0.3), 1.0, 1.0], [math.exp(0.3), math.exp(-0.3), 0.0, 0.0]]
    b = batch(ratios)  # k2 is 0.045 on the tokens that differ
    found = WEIGHTS.build("rejection", {"estimator": "k2", "over": over, "threshold": 0.03})(b)[0]
    assert found[:, 0].tolist() == rows and (found == found[:, :1]).all()
    assert WEIGHTS.build("rejection", {"estimator": "k1", "over": "mean"})(b)[0].all(), "there they cancel"
    with pytest.raises(ValueError, match=r"rejection\.over: max of k1"):
        WEIGHTS.build("rejection", {"estimator": "k1", "over": "max"})


def test_rejection_k1_is_a_window_on_the_ratio_of_trainer_to_sampler():
    ratios = [[0.79, 0.81, 1.0, 1.24, 1.26]]
    assert weight("rejection", ratios, estimator="k1", over="token", low=0.8, high=1.25)[0] == [0, 1, 1, 1, 0]
    assert weight("rejection", ratios, estimator="k1", over="token", low=0.0, high=1.25)[0] == [1, 1, 1, 1, 0]


def test_the_off_policy_mask_drops_what_is_negative_and_left_behind_row_by_row_or_token_by_token():
    ratios = [[0.5, 0.5], [0.5, 0.5], [1.5, 1.5]]  # the policy finds the first two half as likely as the sampler did
    signs = torch.tensor([-1.0, 1.0, -1.0])
    assert weight("off_policy_mask", ratios, {"advantages": signs})[0] == [0, 0, 1, 1, 1, 1]
    assert weight("off_policy_mask", ratios, {"advantages": signs}, threshold=0.7)[0] == [1] * 6
    tokens = torch.tensor([[-1.0, 1.0], [0.0, -1.0], [-1.0, -1.0]])
    assert weight("off_policy_mask", ratios, {"advantages": tokens})[0] == [0, 1, 1, 0, 1, 1]


# -------------------------------------------------------------------------------------------------------- losses


def loss(kind: str, b: TokenBatch, **options: object) -> tuple[list[float], list[float]]:
    """Values and gradients of the valid tokens."""
    leaf = b.logps.detach().clone().requires_grad_()
    found, _ = LOSSES.build(kind, options)(b.set(logps=leaf))
    (gradient,) = torch.autograd.grad(found[b.valid].sum(), leaf)
    return found[b.valid].tolist(), gradient[b.valid].tolist()


def moved(p: list[float], q: list[float], signs: list[float]) -> TokenBatch:
    """One token a row; the old policy is far from both, so that nothing hangs on it."""
    p, q = torch.tensor(p, dtype=torch.float64).unsqueeze(1), torch.tensor(q, dtype=torch.float64).unsqueeze(1)
    return TokenBatch(
        logps=p.log(),
        old_logps=torch.full_like(p, -9.0),
        sampler_logps=q.log(),
        mask=torch.ones_like(p),
        advantages=torch.tensor(signs, dtype=torch.float64),
    )


P, Q, SIGNS = [0.8, 0.8, 0.2, 0.2, 0.002, 0.8], [0.5, 0.5, 0.5, 0.5, 0.001, 0.5], [1.0, -1.0, 1.0, -1.0, 1.0, 0.0]


def test_dppo_drops_what_moves_away_by_probability_and_keeps_a_rare_token_of_twice_its_ratio():
    _, gradient = loss("dppo", moved(P, Q, SIGNS))
    assert gradient == near([0, 1.6, -0.4, 0, -2.0, 0])
    _, gradient = loss("dppo", moved(P, Q, SIGNS), high=0.31, low=0.31, cap=1.5)
    assert gradient == near([-1.5, 1.5, -0.4, 0.4, -1.5, 0])
    assert loss("dppo", moved(P, Q, SIGNS), high=0.31)[1] == near([-1.6, 1.6, -0.4, 0, -2.0, 0])
    assert loss("dppo", moved(P, Q, SIGNS), low=0.31)[1] == near([0, 1.6, -0.4, 0.4, -2.0, 0])


def test_dppos_kl_is_that_of_the_token_or_another():
    b = moved([0.8], [0.5], [1.0])
    kl = 0.5 * math.log(0.5 / 0.8) + 0.5 * math.log(0.5 / 0.2)
    for bound, kept in ((kl - 1e-3, False), (kl + 1e-3, True)):
        assert (loss("dppo", b, divergence="kl", high=bound)[1] != [0]) is kept
    assert loss("dppo", moved([0.7], [0.5], [1.0]), divergence="kl")[1] == [0], "0.087 is beyond the default of kl"
    assert loss("dppo", moved([0.7], [0.5001], [1.0]))[1] != [0], "and 0.2 within that of tv"


def test_dppo_measures_against_the_old_policy_where_it_is_told_to():
    b = moved([0.8], [0.8], [1.0]).set(old_logps=torch.tensor([[math.log(0.5)]], dtype=torch.float64))
    assert loss("dppo", b)[1] == [-1.0]
    assert loss("dppo", b, behaviour="old")[1] == [0]


def test_dppos_two_values_have_one_gradient():
    b = moved([0.6, 0.3], [0.5, 0.5], [1.0, -1.0])
    (ratio, first), (score, second) = (loss("dppo", b, value=v, high=1.0, low=1.0) for v in ("ratio", "score"))
    assert first == second == near([-1.2, 0.6])
    assert ratio == near([-1.2, 0.6]) and score == near([-1.2 * math.log(0.6), 0.6 * math.log(0.3)])


def test_ipo_drops_what_has_moved_whatever_the_advantage_and_the_square_pulls_on_all():
    value, gradient = loss("ipo", moved(P, Q, SIGNS), square=0.0)
    assert value == gradient == near([0, 0, 0, 0, -2.0, 0])
    _, pulled = loss("ipo", moved(P, Q, SIGNS), square=0.5)
    assert pulled == near([g + math.log(p / q) for g, p, q in zip(gradient, P, Q, strict=True)])


def test_dro_is_at_rest_where_the_log_ratio_is_the_advantage_over_beta():
    b = moved([0.5] * 3, [0.5] * 3, [1.0, -1.0, 0.0])
    b = b.set(old_logps=b.logps - torch.tensor([[2.0], [-2.0], [0.0]], dtype=torch.float64))
    assert loss("dro", b, beta=0.5)[1] == near([0, 0, 0])
    assert loss("dro", b, beta=1.0)[1] == near([1.0, -1.0, 0])


@pytest.mark.parametrize("kind", ["dppo", "ipo"])
def test_a_token_without_a_samplers_log_prob_is_measured_against_the_old_policy(kind):
    b = moved([0.5], [0.5], [1.0]).set(old_logps=torch.tensor([[math.log(0.4)]], dtype=torch.float64))
    unknown = b.set(sampler_logps=torch.full_like(b.logps, NAN))
    assert loss(kind, unknown, square=0.0)[1] == near([-1.25])
