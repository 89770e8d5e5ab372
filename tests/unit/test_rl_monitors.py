"""The monitors' maths against brute force: numpy, hand-made texts, and tabular policies whose entropy is exact."""

from __future__ import annotations

import itertools
import math

import numpy
import pytest
import torch
from theory import tabular
from unit.rl_support import batch_of, on_ranks, rows_of

from entropostat.rl.diagnostics import entropy, text
from entropostat.rl.diagnostics.forces import fields, force, pulls, push, touched
from entropostat.rl.diagnostics.trust import trust
from entropostat.rl.losses.ppo_clip import PPOClip
from entropostat.rl.reduce import aggregate
from entropostat.rl.window import Window

CEILING = math.log(50_000)
GARBAGE = (math.nan, math.inf, -math.inf, 1e30)


def width_at(value: float) -> float:
    """Of the bin that holds it, and of the next."""
    index = int((value / CEILING) ** (1 / 3) * entropy.BINS)
    return entropy.edge(index + 2, CEILING) - entropy.edge(max(index - 1, 0), CEILING)


@pytest.mark.parametrize("case", ["small", "broad", "decided", "two humps", "one token", "few"])
def test_quantiles_are_those_of_numpy_to_the_width_of_a_bin(case: str) -> None:
    g = torch.Generator().manual_seed(3)
    drawn = {
        "small": 0.01 * torch.rand(60, 50, generator=g).square(),
        "broad": CEILING * torch.rand(60, 50, generator=g),
        "decided": torch.rand(60, 50, generator=g).pow(12),
        "two humps": torch.where(torch.rand(60, 50, generator=g) < 0.7, 1e-3, 2.5),
        "one token": torch.full((1, 1), 0.37),
        "few": torch.tensor([[0.1, 0.2, 1.7, 3.0]]),
    }[case]
    counts = entropy.counts(drawn, torch.ones_like(drawn, dtype=torch.bool), CEILING).tolist()
    at = [0.0, 0.1, 0.5, 0.8, 0.9, 0.99, 1.0]
    for q, value in zip(at, entropy.quantiles(counts, at, CEILING), strict=True):
        # Between two tokens far apart the rank decides: numpy's own bracket bounds the error.
        low, high = (numpy.quantile(drawn.double().numpy(), q, method=m) for m in ("lower", "higher"))
        assert low - width_at(low) <= value <= high + width_at(high)
        if case not in ("two humps", "few"):
            assert value == pytest.approx(numpy.quantile(drawn.double().numpy(), q), abs=width_at(high))
    for threshold in (0.0, 0.004, 0.5, 2.0, CEILING):
        inside = (drawn.flatten().double() - threshold).abs() < width_at(threshold)
        exact = float((drawn > threshold).double().mean())
        assert entropy.share_above(counts, threshold, CEILING) == pytest.approx(
            exact, abs=float(inside.double().mean())
        )


def test_a_quantile_between_two_tokens_is_interpolated_and_one_of_nothing_is_nan() -> None:
    drawn = torch.tensor([[1.0, 3.0]])
    counts = entropy.counts(drawn, drawn > 0, CEILING).tolist()
    assert entropy.quantiles(counts, [0.25], CEILING)[0] == pytest.approx(1.5, abs=0.05)
    assert all(math.isnan(x) for x in entropy.quantiles([0] * entropy.BINS, [0.1, 0.5], CEILING))
    assert math.isnan(entropy.share_above([0] * entropy.BINS, 1.0, CEILING))


def test_counts_leave_out_what_is_masked_and_keep_what_is_beyond_the_edges() -> None:
    drawn = torch.tensor([[0.0, CEILING, CEILING + 1, -1e-6, math.nan, 5.0]])
    valid = torch.tensor([[True, True, True, True, False, False]])
    counts = entropy.counts(drawn, valid, CEILING)
    assert counts.sum() == 4 and counts[0] == 2 and counts[-1] == 2


def test_the_drawn_histogram_holds_every_token_between_its_edges() -> None:
    drawn = CEILING * torch.rand(40, 25, generator=torch.Generator().manual_seed(0)).square()
    bins = entropy.counts(drawn, torch.ones_like(drawn, dtype=torch.bool), CEILING).tolist()
    edges, counts = entropy.coarse(bins, CEILING, 32)
    expected, _ = numpy.histogram(drawn.double().numpy(), bins=edges)
    assert len(edges) == 33 and edges[0] == 0 and edges[-1] == pytest.approx(CEILING)
    assert numpy.abs(expected - counts).max() <= 2  # float32 may put a token on the other side of an edge
    assert sum(counts) == 1000


def test_deciles_and_outcomes_are_means_over_the_tokens_they_name() -> None:
    batch = batch_of(11, rows=6, width=23)
    right = torch.tensor([1.0, 0.0, 1.0, math.nan, 0.0, 0.0])
    sums = [[[] for _ in range(10)], [[], []]]
    for row, valid, label in zip(batch.entropy, batch.valid, right.tolist(), strict=True):
        values = row[valid].tolist()
        for i, value in enumerate(values):
            sums[0][int(10 * i / len(values))].append(value)
        if not math.isnan(label):
            sums[1][0 if label else 1].append(values)
    totals, counts = entropy.by_position(batch.entropy, batch.valid).tolist()
    assert totals == pytest.approx([sum(x) for x in sums[0]])
    assert counts == [len(x) for x in sums[0]]
    for sums_of, rows in zip(entropy.by_outcome(batch.entropy, batch.valid, right).tolist(), sums[1], strict=True):
        flat = list(itertools.chain(*rows))
        assert sums_of == pytest.approx([sum(flat), len(flat), len(rows)])


# ---------------------------------------------------------------------------------------------- forces

STEP = 1e-6


def change(logits: torch.Tensor, move: torch.Tensor) -> torch.Tensor:
    """(S,) exact entropy change per unit of a small step ``move`` on the logits, by central differences."""
    up, down = tabular.entropies(logits + STEP * move), tabular.entropies(logits - STEP * move)
    return (up - down) / (2 * STEP)


@pytest.mark.parametrize("seed", range(5))
def test_the_push_is_the_exact_entropy_change_of_a_small_step(seed: int) -> None:
    logits = tabular.draw(seed).logits
    logp, p = logits.log_softmax(1), logits.softmax(1)
    h = tabular.entropies(logits).unsqueeze(1)
    ones = torch.eye(logits.size(1), dtype=torch.float64)
    sums = p.square().sum(1), (p.square() * logp).sum(1)
    up = torch.tensor([0.7, -0.4, 1.3], dtype=torch.float64)
    signs = set()
    for k in range(logits.size(1)):
        args = logp[:, k], h.squeeze(1), up
        natural = change(logits, up.unsqueeze(1) * (ones[k] / p - 1))
        plain = change(logits, up.unsqueeze(1) * (ones[k] - p))
        assert torch.allclose(push(*args), natural, atol=1e-7)
        assert torch.allclose(push(*args, sums=sums), plain, atol=1e-7)
        signs |= set(push(*args).sign().tolist())
    assert signs == {-1.0, 1.0}
    # an entropy gradient: in the mean over the policy's own tokens
    wide = [x.unsqueeze(1).expand_as(logp) for x in (*sums, up)]
    for sum_pair, move in ((None, -(logp + h)), ((wide[0], wide[1]), -p * (logp + h))):
        pushed = (p * push(logp, h.expand_as(logp), None, wide[2], sum_pair)).sum(1)
        assert torch.allclose(pushed, change(logits, up.unsqueeze(1) * move), atol=1e-7)
        assert (pushed.sign() == up.sign()).all()


PARTS = {
    "policy gradient": {},
    "off-policy": {"loss": ("ppo_clip", {})},
    "kl_cov": {"penalties": [("kl_cov", {"fraction": 0.2})]},
    "bonus": {"penalties": [("entropy_bonus", {"coef": 0.3})]},
    "malus": {"penalties": [("entropy_bonus", {"coef": -0.3})]},
}


@pytest.mark.parametrize("name", PARTS)
@pytest.mark.parametrize("seed", range(3))
def test_the_pushes_of_all_parts_add_up_to_the_change_by_the_whole_gradient(name: str, seed: int) -> None:
    case, slots = tabular.draw(seed), PARTS[name]
    o, rows = tabular.objective(**slots), case.all()
    rollout = o.rollout(tabular.tokens(case, case.logits, rows))
    z = case.logits.clone().requires_grad_()
    batch = tabular.tokens(case, z, rows).set(advantages=rollout.advantages)
    token = aggregate(o.token_loss(batch, rollout.stats)[0], batch.mask)
    at = fields(batch)
    pushed = force(pulls(token, at), batch)[1]
    for part in o.penalties:
        if part.term.kind == "scalar":
            forces = force(pulls(o.penalty(part, batch, rollout.stats)[0], at), batch)
            assert forces[1].sign() == part.term.coef / abs(part.term.coef)
            pushed = pushed + forces[1]
    assert float(pushed) == pytest.approx(float(tabular.slopes(case, **slots).sum()), rel=1e-9)


def test_a_force_is_the_sum_of_the_sizes_of_all_gradients_and_a_push_that_is_not_known_is_nan() -> None:
    batch = batch_of(8)
    leaves = {name: getattr(batch, name).clone().requires_grad_() for name in ("logps", "entropy", "sum_p2")}
    batch = batch.set(**leaves)
    valid = batch.valid
    known = (2.0 * batch.logps - 3.0 * batch.entropy)[valid].sum()
    size, pushed = force(pulls(known, fields(batch)), batch)
    assert float(size) == pytest.approx(5.0 * int(valid.sum()))
    assert pushed.isfinite()
    size, pushed = force(pulls(known + batch.sum_p2[valid].sum(), fields(batch)), batch)
    assert float(size) == pytest.approx(6.0 * int(valid.sum()))
    assert pushed.isnan()
    assert pulls(torch.zeros(()), fields(batch)) == {}
    assert force({}, batch).tolist() == [0, 0]
    weighted = pulls(batch.logps.square(), fields(batch), 3 * valid.double())["logps"]
    assert torch.allclose(weighted, -6 * batch.logps.detach() * valid)


def test_touched_tokens_and_ratios_are_counted_by_the_sign_of_their_advantage() -> None:
    batch = batch_of(9, rows=24)
    valid, a = batch.valid, batch.token_advantages
    masks = [batch.entropy > 0.7, batch.logps < -1]
    expected = [[int((m & valid & (a > 0)).sum()), int((m & valid & (a < 0)).sum())] for m in masks]
    assert touched(masks, batch).tolist() == expected
    ratio = (batch.logps - batch.old_logps).exp()
    low, high = (a < 0) & (ratio < 0.8) & valid, (a > 0) & (ratio > 1.2) & valid
    sums, ends = trust(batch, PPOClip().bounded(batch))
    assert sums.tolist() == pytest.approx([float(ratio[valid].sum()), int(low.sum()), int(high.sum())])
    assert ends.tolist() == pytest.approx([float(ratio[valid].max()), -float(ratio[valid].min())])
    assert min(sums[1:].tolist()) > 0
    rows = [(row - old)[m].mean().exp() for row, old, m in zip(batch.logps, batch.old_logps, valid, strict=True)]
    weight = valid.sum(1)
    assert float(trust(batch, sequence=True)[0][0]) == pytest.approx(
        float((torch.stack(rows).nan_to_num() * weight).sum())
    )
    assert trust(batch)[0].tolist() == sums[:1].tolist()


@pytest.mark.parametrize("garbage", GARBAGE)
def test_masked_tokens_never_matter(garbage: float) -> None:
    clean = batch_of(10)
    dirt = {
        n: torch.where(clean.valid, getattr(clean, n), garbage)
        for n in ("logps", "entropy", "old_logps", "old_entropy")
    }
    dirty = clean.set(**dirt)
    ids = torch.randint(0, 3, clean.mask.shape, generator=torch.Generator().manual_seed(0))
    right = torch.tensor([1.0, 0.0] * 3)

    def everything(batch, ids):
        valid = batch.valid
        leaves = {n: getattr(batch, n).clone().requires_grad_() for n in ("logps", "entropy")}
        live = batch.set(**leaves)
        part = torch.where(valid, live.logps * live.entropy, 0.0).sum()
        pull = {name: torch.where(valid, x, garbage) for name, x in pulls(part, fields(live)).items()}
        return [
            entropy.counts(batch.entropy, valid, CEILING),
            entropy.by_position(batch.entropy, valid),
            entropy.by_outcome(batch.entropy, valid, right),
            text.repetition(ids, valid),
            text.fingerprints(ids, valid),
            *trust(batch, PPOClip().bounded(batch)),
            force(pull, live),
            touched([batch.entropy > 0.5], batch),
        ]

    for a, b in zip(everything(clean, ids), everything(dirty, torch.where(clean.valid, ids, 12345)), strict=True):
        assert torch.equal(a, b) and torch.isfinite(a).all()


def test_an_empty_micro_batch_adds_nothing() -> None:
    batch = batch_of(12).set(mask=torch.zeros(6, 7, dtype=torch.float64))
    valid = batch.valid
    assert entropy.counts(batch.entropy, valid, CEILING).sum() == 0
    assert entropy.by_position(batch.entropy, valid).sum() == 0
    assert text.repetition(torch.zeros(6, 7, dtype=torch.long), valid).tolist() == [0, 0]
    sums, ends = trust(batch, PPOClip().bounded(batch))
    assert sums.tolist() == [0, 0, 0] and ends.tolist() == [-math.inf, -math.inf]


# ---------------------------------------------------------------------------------------------- ranks


def test_a_window_adds_up_and_takes_the_largest_over_micro_batches_and_ranks() -> None:
    batch = batch_of(13)

    def closed(parts, reducer):
        window = Window()
        for part in parts:
            window.add(part, {"a": part.entropy.sum()})
            sums, ends = trust(part, PPOClip().bounded(part))
            window.pool("trust", sums)
            window.peak("ratio", ends)
            window.pool("counts", entropy.counts(part.entropy, part.valid, CEILING))
        measured = window.close(reducer)
        assert len(measured.metrics) == 1
        return measured

    (whole,) = on_ranks([lambda r: closed([batch], r)])
    split = [[[0], [1, 2]], [[3, 4], [5]]]
    parts = [[rows_of(batch, torch.tensor(rows)) for rows in rank] for rank in split]
    for measured in on_ranks([lambda r, part=part: closed(part, r) for part in parts]):
        assert measured.pooled == {name: pytest.approx(values) for name, values in whole.pooled.items()}
        assert measured.peaked == whole.peaked
        assert measured.tokens == int(batch.valid.sum())


def test_a_window_that_has_closed_begins_anew() -> None:
    window = Window()
    window.add(batch_of(13), {})
    window.pool("a", torch.ones(1))
    window.peak("b", torch.ones(1).double())
    assert window.close().pooled == {"a": [1.0]}
    window.add(batch_of(13), {})
    again = window.close()
    assert again.pooled == {} and again.peaked == {} and len(again.counts) == 1
