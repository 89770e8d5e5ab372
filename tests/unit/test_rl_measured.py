"""Metrics add up: a batch that is cut into ranks and micro-batches, some of them empty, tells what the whole tells."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import (
    ACTING,
    ADVANTAGE,
    batch_of,
    label,
    objective,
    on_ranks,
    rollout_view,
    rows_of,
    rows_of_stats,
    term_of,
    with_extra,
    with_leaves,
)

from entropostat.rl.measured import Largest, Ledger, Mean, Smallest, merged
from entropostat.rl.reduce import LOCAL

few = settings(max_examples=5, deadline=None, derandomize=True)
ROWS = 8
PER_GENERATION = [s for s in (*ACTING, *ADVANTAGE) if getattr(term_of(s), "scope", "rollout") in ("rollout", "never")]
"""Statistics of a micro-batch are the micro-batch's own: a term with ``scope: micro`` or ``ranks`` tells of those."""


def told(o, parts, reducer=LOCAL):
    """Metrics of the rollout and of the loss of one rank, whose generation comes in these micro-batches (row indices)."""
    rows = torch.cat([index for index, _ in parts])
    batch = rows_of(parts[0][1], rows)
    rollout = o.rollout(rollout_view(batch).set(reducer=reducer))
    ledger, numbers = Ledger(), merged(rollout.metrics, reducer)
    for place in torch.arange(len(rows)).split([len(index) for index, _ in parts]):
        part = with_leaves(rows_of(batch, place)).set(advantages=rollout.advantages[place])
        stats = rows_of_stats(rollout.stats, place)
        part = with_extra(part) if o.sampler is not None else part
        _, metrics = o.token_loss(part, stats)
        for penalty in o.penalties:
            metrics |= o.penalty(penalty, part, stats)[1]
        ledger.add(metrics)
    columns = ledger.columns(reducer)
    if not columns:
        return numbers
    total = reducer.sum(torch.cat(columns)).tolist()
    return numbers | ledger.read(iter(total), getattr(reducer, "world", 1))


def cuts(rank_of_row, micro_batches):
    """The rows of each rank, cut into micro-batches of one, two, ... rows."""
    ranks = [[row for row, rank in enumerate(rank_of_row) if rank == r] for r in sorted(set(rank_of_row))]
    return [list(torch.tensor(rows).split(micro_batches)) for rows in ranks]


@pytest.mark.parametrize("setting", PER_GENERATION, ids=label)
@few
@given(
    seed=st.integers(0, 10_000),
    rank_of_row=st.lists(st.integers(0, 2), min_size=ROWS, max_size=ROWS),
    micro_batches=st.integers(1, 3),
    empty=st.sets(st.integers(0, ROWS - 1), max_size=ROWS - 1),
)
def test_a_split_batch_has_the_metrics_of_the_whole(setting, seed, rank_of_row, micro_batches, empty):
    batch = batch_of(seed, rows=ROWS)
    kept = torch.tensor([float(row not in empty) for row in range(ROWS)]).unsqueeze(1)
    batch = batch.set(mask=batch.mask * kept)
    o = objective(setting)
    whole = told(o, [(torch.arange(ROWS), batch)])
    parts = [[(index, batch) for index in rank] for rank in cuts(rank_of_row, micro_batches)]
    for metrics in on_ranks([lambda r, part=part: told(o, part, r) for part in parts]):
        assert metrics == {key: pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True) for key, value in whole.items()}


@pytest.mark.parametrize("setting", PER_GENERATION, ids=label)
def test_rows_that_are_masked_whole_change_no_metric(setting):
    batch, o = batch_of(5, rows=ROWS), objective(setting)
    if "rewards" in o.rollout_needs:
        batch = batch.set(rewards=batch.rewards.index_fill(0, torch.tensor([2, 7]), torch.nan))
    emptied = batch.set(mask=batch.mask.index_fill(0, torch.tensor([2, 7]), 0.0))
    truncated = setting[1] == "gae"  # counts completions, and a masked one is a truncated one
    without = told(o, [(torch.tensor([0, 1, 3, 4, 5, 6]), emptied)])
    metrics = told(o, [(torch.arange(ROWS), emptied)])
    for key, value in without.items():
        if not (truncated and key.endswith("truncated")):
            assert metrics[key] == pytest.approx(value, rel=1e-9, abs=1e-12, nan_ok=True), key


APPLIED = {"dcpo/alpha", "entropic/alpha"}
"""Numbers that were applied, and measure nothing."""
CUT = "gae/truncated"
"""A share of completions, scored or not, masked or not."""


@pytest.mark.parametrize("setting", ADVANTAGE, ids=label)
def test_a_generation_without_a_token_or_a_score_has_nothing_to_tell(setting):
    batch = batch_of(5)
    batch = batch.set(mask=torch.zeros_like(batch.mask), rewards=torch.full_like(batch.rewards, torch.nan))
    metrics = merged(objective(setting).rollout(batch).metrics, LOCAL)
    assert all(math.isnan(value) for key, value in metrics.items() if key not in {*APPLIED, CUT}), metrics


@pytest.mark.parametrize("setting", ADVANTAGE, ids=label)
def test_a_prompt_that_nothing_could_score_changes_no_metric(setting):
    o, batch, kept = objective(setting), batch_of(5, rows=ROWS), torch.arange(ROWS - 2)
    last = torch.arange(ROWS - 2, ROWS)  # a group of two
    batch = batch.set(mask=batch.mask.index_fill(0, last, 0.0), rewards=batch.rewards.index_fill(0, last, torch.nan))
    metrics, without = (merged(o.rollout(b).metrics, LOCAL) for b in (batch, rows_of(batch, kept)))
    assert {k: v for k, v in metrics.items() if k != CUT} == {
        k: pytest.approx(v, rel=1e-9, abs=1e-12, nan_ok=True) for k, v in without.items() if k != CUT
    }


def test_a_mean_of_parts_is_that_of_their_tokens_and_an_empty_part_has_no_say():
    one, two = torch.tensor([1.0, 1.0, 1.0]), torch.tensor([5.0])
    none = Mean.over(torch.ones(2), torch.zeros(2))
    assert math.isnan(none.item())
    ledger = Ledger()
    for part in (Mean.over(one, torch.ones(3)), none, Mean.over(two, torch.ones(1))):
        ledger.add({"a": part})
    assert ledger.read(iter(torch.cat(ledger.columns(LOCAL)).tolist()), 1) == {"a": 2.0}


def test_extremes_are_those_of_all_parts_and_ranks_and_of_tokens_that_count():
    x, chosen = torch.tensor([-3.0, 9.0, -1.0, -20.0]), torch.tensor([1, 0, 1, 0])

    def rank(shift):
        def run(r):
            ledger = Ledger()
            for y, mask in ((x + shift, chosen), (x, chosen * 0)):
                ledger.add(
                    {"high": Largest.over(y, mask), "low": Smallest.over(y, mask), "none": Largest.over(y, mask * 0)}
                )
            return ledger.read(iter(r.sum(torch.cat(ledger.columns(r))).tolist()), r.world)

        return run

    for metrics in on_ranks([rank(0.0), rank(-1.0)]):
        assert metrics["high"] == -1.0 and metrics["low"] == -4.0 and math.isnan(metrics["none"])


def test_what_is_no_mean_counts_where_it_is_finite():
    ledger = Ledger()
    for value in (2.0, math.nan, 4.0):
        ledger.add({"knob": torch.tensor(value), "never": torch.tensor(math.nan)})
    metrics = ledger.read(iter(torch.cat(ledger.columns(LOCAL)).tolist()), 1)
    assert metrics["knob"] == 3.0 and math.isnan(metrics["never"])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_counts_every_token(dtype):
    mean = Mean.over(torch.ones(3000, dtype=dtype), torch.ones(3000, dtype=dtype))
    assert mean.count.double() == 3000 and mean.item() == 1.0


def test_what_is_computed_from_a_mean_is_an_ordinary_tensor():
    mean = Mean.over(torch.tensor([1.0, 3.0]), torch.ones(2))
    assert type(mean * 2) is torch.Tensor and float(mean * 2) == 4.0
