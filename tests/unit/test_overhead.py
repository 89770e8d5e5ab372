"""The exact half of the overhead gate: counts against a stock trainer, on the benchmark's small model."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from benchmarks.cost import counting, gates, pairing, subjects
from entropostat.recipe.machine_blocks import Tracking


@pytest.fixture(scope="module")
def counts() -> dict[str, Any]:
    """``ours`` monitors every step, which is more than it does by default."""
    build, size = subjects.build, subjects.SMALL
    every = {"stock": None, "ours": None, "unmonitored": Tracking(monitor_every=0)}
    return {
        name: counting.count(build(name != "stock", size, 2 * size.cycle + 1, tracking), size.cycle)
        for name, tracking in every.items()
    }


def test_every_exact_count_is_within_its_gate(counts: dict[str, Any]) -> None:
    judged = list(gates.count_gates(counts["stock"], counts["ours"]))
    assert [gate.what for gate in judged if gate.passed is False] == []
    assert len([gate for gate in judged if gate.passed]) == 8


def test_the_counts_are_those_of_the_configuration(counts: dict[str, Any]) -> None:
    """Two micro-batches of training a step, and per generation four of old and four of reference log-probs."""
    size = subjects.SMALL
    for count in counts.values():
        scored = size.accumulation + 2 * size.steps_per_generation / size.cycle
        assert count["scoring and training forwards"] == scored
        assert count["model forwards"] == scored + size.tokens / size.cycle
        assert count["generate calls"] == 1 / size.cycle


def test_without_generation_the_ops_stay_close(counts: dict[str, Any]) -> None:
    """Stricter than the gate, so that a term that starts to compute twice is seen."""
    pair = [counts[name] for name in ("stock", "unmonitored")]
    stock, ours = (count["aten ops"] - count["aten ops by phase"]["rollout"] for count in pair)
    assert ours / stock <= 1.12


def test_monitors_add_no_forward_no_collective_and_few_operators(counts: dict[str, Any]) -> None:
    on, off = counts["ours"], counts["unmonitored"]
    assert all(on[name] == off[name] for name in gates.EQUAL)
    assert 0 < on["aten ops"] - off["aten ops"] <= 0.06 * counts["stock"]["aten ops"]
    assert on["peak bytes"] - off["peak bytes"] <= 1e-3 * counts["stock"]["peak bytes"]


def test_the_meter_sees_a_second_forward_a_projection_and_the_bytes_they_hold() -> None:
    head = torch.nn.Linear(8, 1000, bias=False)
    meter = counting.Meter([head.weight])
    meter.follow(head.weight)
    with meter:
        kept = head(torch.ones(4, 8)).exp()
        ops, peak = meter.ops.total(), meter.peak
        (head(torch.ones(4, 8)).exp() * kept).sum().backward()
    assert meter.projections == 2
    assert meter.ops.total() > 2 * ops
    assert meter.peak >= peak + kept.nbytes
    alive = meter.alive
    del kept
    assert meter.alive < alive


def test_a_ratio_and_its_interval_follow_the_pairs() -> None:
    ratio = pairing.ratio
    interval = ratio([1.05, 1.06, 1.04] * 20, [1.0, 1.0, 1.0] * 20)
    assert interval["median"] == pytest.approx(1.05)
    assert 1.04 <= interval["low"] <= interval["median"] <= interval["high"] <= 1.06
    assert ratio([2.0, 8.0], [2.0, 8.0])["high"] == 1.0
