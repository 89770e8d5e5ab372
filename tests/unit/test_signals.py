"""Every declared signal is measured, and what it measures is what its name says."""

from __future__ import annotations

import math

import pytest
import torch
from unit.rl_support import batch_of, on_ranks, rows_of

from entropostat.rl.bounds import beyond
from entropostat.rl.losses.unclipped import Unclipped
from entropostat.rl.measured import Mean
from entropostat.rl.reduce import LOCAL
from entropostat.rl.signal_sums import rollout_signals, velocity
from entropostat.rl.signals import REFERENCE, ROLLOUT, SIGNALS, WINDOW, needs_reference
from entropostat.rl.window import Window

ALL = frozenset(SIGNALS)


class Clip:
    holds = "ratio"

    def bounded(self, batch):
        return beyond(batch, batch.ratio, 0.8, 1.2)


def closed(batches, reducer=LOCAL):
    window = Window(ALL)
    for batch in batches:
        window.add(batch, {}, Clip())
    return window.close(reducer).signals


def test_a_window_measures_all_that_is_declared_for_it():
    assert set(closed([batch_of(1)])) == set(WINDOW)


def test_window_signals_are_means_over_tokens_or_sequences():
    batch = batch_of(3)
    signals, valid = closed([batch]), batch.valid
    x, ratio = batch.logps - batch.ref_logps, (batch.logps - batch.old_logps).exp()[valid]
    a = batch.token_advantages[valid]
    rows = [batch.entropy[i][valid[i]].mean() for i in range(6) if valid[i].any()]
    expected = {
        "entropy": batch.entropy[valid].mean(),
        "entropy_seq": torch.stack(rows).mean(),
        "nll": -batch.logps[valid].mean(),
        "kl": ((-x).exp() + x - 1)[valid].mean(),
        "kl_k1": x[valid].mean(),
        "kl_old": (1 / ratio + ratio.log() - 1).mean(),
        "clip_fraction": (((a > 0) & (ratio > 1.2)) | ((a < 0) & (ratio < 0.8))).double().mean(),
        "ratio_max": ratio.max(),
        "ratio_min": ratio.min(),
    }
    assert signals == {name: pytest.approx(float(value), rel=1e-9) for name, value in expected.items()}
    assert 0 < signals["clip_fraction"] < 1
    assert signals["entropy"] != pytest.approx(signals["entropy_seq"], rel=1e-3)


def test_ranks_and_micro_batches_do_not_matter_to_a_window():
    batch = batch_of(4)
    whole = closed([batch])
    parts = [[rows_of(batch, torch.tensor(rows)) for rows in ranks] for ranks in ([[0], [1, 2]], [[3, 4], [5]])]
    for signals in on_ranks([lambda r, part=part: closed(part, r) for part in parts]):
        assert signals == {name: pytest.approx(value, rel=1e-9) for name, value in whole.items()}


def test_a_token_without_a_mask_is_never_seen():
    batch = batch_of(5)
    dirty = batch.set(
        **{
            name: torch.where(batch.valid, getattr(batch, name), 1e6)
            for name in ("logps", "entropy", "ref_logps", "old_logps")
        }
    )
    assert closed([dirty]) == closed([batch])


def rollout(batch, reducer=LOCAL):
    return rollout_signals(batch.set(reducer=reducer), 2 * batch.old_entropy, ALL)


def test_rollout_signals():
    rewards = torch.tensor([1.0, 0.0, 0.2, 0.3, torch.nan, 2.0], dtype=torch.float64)
    batch = batch_of(6, rewards=rewards)
    signals, valid = rollout(batch), batch.valid
    scored = rewards[~rewards.isnan()]
    top = batch.old_entropy[valid].sort(descending=True).values[: round(0.2 * int(valid.sum()))]
    assert set(signals) | {"reward_velocity"} == set(ROLLOUT)
    assert signals["reward"] == pytest.approx(float(scored.mean()))
    assert signals["reward_std"] == pytest.approx(float(scored.std()))
    assert signals["solved"] == pytest.approx(2 / 3)
    assert signals["length"] == pytest.approx(float(valid.sum()) / 6)
    assert signals["entropy_top"] == pytest.approx(float(top.mean()))
    assert signals["entropy_ratio"] == pytest.approx(0.5)
    assert signals["entropy_ref"] == pytest.approx(2 * signals["entropy_old"])


def test_ranks_do_not_matter_to_rollout_signals():
    batch = batch_of(7)
    whole, parts = rollout(batch), [rows_of(batch, torch.tensor(rows)) for rows in ([0, 1, 2], [3, 4, 5])]
    for signals in on_ranks([lambda r, part=part: rollout(part, r) for part in parts]):  # a group straddles them
        assert signals == {name: pytest.approx(value, rel=1e-9) for name, value in whole.items()}


def test_velocity_is_the_change_of_the_average():
    state = velocity({}, 1.0)
    assert state["reward_velocity"] == 0.0
    state = velocity(state, 3.0)
    assert state == {"reward_average": pytest.approx(1.1), "reward_velocity": pytest.approx(0.1)}
    held = velocity(state, math.nan)
    assert held["reward_average"] == state["reward_average"] and math.isnan(held["reward_velocity"])


def test_signals_of_the_reference_are_signals():
    assert set(SIGNALS) >= REFERENCE


def test_a_reference_is_needed_by_what_reads_its_log_probs_or_compares_with_it():
    none = frozenset()
    assert needs_reference(frozenset({"ref_logps", "entropy"}), none) and not needs_reference(
        frozenset({"entropy"}), none
    )
    assert {signal for signal in SIGNALS if needs_reference(none, frozenset({signal}))} == REFERENCE


def test_a_window_without_a_token_measures_nothing():
    batch = batch_of(4)
    empty = batch.set(mask=torch.zeros_like(batch.mask))
    assert all(math.isnan(value) for value in closed([empty]).values())
    assert closed([empty, batch]) == closed([batch])
    shrunk = batch.set(logps=batch.old_logps - 0.5)  # no ratio is 1 or more
    assert closed([shrunk])["ratio_max"] == pytest.approx(math.exp(-0.5))


def test_a_window_begins_anew_when_it_closes():
    first, second, window = batch_of(4), batch_of(5), Window(ALL)
    for batch, size in ((first, 3.0), (second, 1.0)):
        window.add(batch, {"term/size": Mean.of(torch.tensor(size), torch.tensor(1.0))}, Clip())
        window.pool("pooled", torch.tensor([size]))
        window.peak("peaked", torch.tensor([size]))
        last = window.close()
    assert last.signals == closed([second])
    assert (last.metrics, last.pooled, last.peaked) == ({"term/size": 1.0}, {"pooled": [1.0]}, {"peaked": [1.0]})
    nothing = window.close()
    assert not (nothing.signals or nothing.metrics or nothing.pooled or nothing.peaked or nothing.counts)


def test_a_window_counts_the_tokens_of_each_micro_batch_and_hears_a_rank_that_asks_to_stop():
    batch = batch_of(4)

    def close(part, stop, reducer):
        window = Window()
        for row in part.tolist():
            window.add(rows_of(batch, torch.tensor([row])), {})
        return window.close(reducer, stop)

    tokens = batch.mask.sum(1).tolist()
    ranks = ((torch.tensor([0, 1, 2]), False), (torch.tensor([3, 4, 5]), True))
    for last in on_ranks([lambda r, part=part, stop=stop: close(part, stop, r) for part, stop in ranks]):
        assert last.counts == [a + b for a, b in zip(tokens[:3], tokens[3:], strict=True)]
        assert last.tokens == sum(tokens) and last.stop
    assert not close(torch.arange(6), False, LOCAL).stop


def test_a_loss_without_bounds_is_not_asked_for_them():
    window = Window(ALL)
    window.add(batch_of(4), {}, Unclipped())
    assert "clip_fraction" not in window.close().signals


def test_what_a_generation_gives_nothing_to_measure_of_is_nan():
    batch = batch_of(5)
    unscored = batch.set(rewards=torch.full((6,), torch.nan, dtype=torch.float64), mask=torch.zeros_like(batch.mask))
    assert all(math.isnan(value) for value in rollout(unscored).values())
    assert math.isnan(rollout(batch.set(rewards=unscored.rewards.index_fill(0, torch.tensor([2]), 1.0)))["reward_std"])


def test_prompts_without_a_score_and_rows_without_a_token_do_not_count():
    batch = batch_of(5, rewards=torch.tensor([1.0, 0.0, torch.nan, torch.nan, 0.0, 0.2], dtype=torch.float64))
    signals = rollout(batch.set(mask=torch.ones_like(batch.mask).index_fill(0, torch.tensor([0, 3]), 0.0)))
    assert signals["solved"] == 0.5 and signals["length"] == 7.0
