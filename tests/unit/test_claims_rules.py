"""How the evidence bench judges: intervals, power, verdicts, the screening design and the law."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from benchmarks.claims import law, measures, screening, verdicts
from benchmarks.claims.intervals import Interval, interval, seeds_needed, visible
from benchmarks.claims.store import Store
from benchmarks.claims.tasks import TASKS

HARD = TASKS["hard"]


def result(final: float, **more: Any) -> dict[str, Any]:
    look = {"pass@1": 0.2, "pass@8": 0.6, "distinct": 0.2, "working": 0.4, "entropy": 0.4, "length": 8.0}
    last = look | {"pass@1": final, "entropy": 0.1, **more}
    return {"status": "done", "looks": {"0": look, "20": last | {"pass@1": final + 0.1}, "40": last}} | {
        "reward": 0.5, "findings": ["collapse"], "cpu": 0.1, "memory": 1.0, "samples": 2560,
    }  # fmt: skip


def test_an_interval_is_student_s():
    found = interval([1.0, 2.0, 3.0, 4.0, 5.0])
    assert found.mean == 3 and found.low == pytest.approx(3 - 2.776 * math.sqrt(2.5 / 5), abs=1e-3)
    assert interval([1.0]).low == -math.inf


def test_seeds_needed_grow_with_the_square_of_the_deviation_and_see_what_they_should():
    assert [seeds_needed(sd) for sd in (0.05, 0.1, 0.2)] == [10, 34, 128]
    assert visible(0.1, seeds_needed(0.1)) <= 0.05 < visible(0.1, seeds_needed(0.1) - 1)


def test_measures_take_the_end_the_best_and_what_is_left_of_entropy():
    found = measures.measures(result(0.6), HARD)
    assert found["final"] == found["success"] == 0.6 and found["best"] == pytest.approx(0.7)
    assert found["kept"] == pytest.approx(0.25) and found["mean"] == pytest.approx(0.5)
    assert found["reached"] == 20 and measures.measures(result(0.5), HARD)["reached"] == 50
    assert found["collapse"] == 1 and found["explosion"] == 0


def test_a_run_that_failed_counts_as_wrong_and_has_no_entropy():
    runs = {1: result(0.6), 2: {"status": "failed", "why": "NaN"}, 3: {"status": "refused", "why": "no"}}
    assert measures.of(runs, HARD, "success") == {1: 0.6, 2: 0.0, 3: 0.0}
    assert list(measures.of(runs, HARD, "kept")) == [1]


CLAIM = verdicts.Claim("m", "c", "s", "kept", "higher", at_least=0.1, tasks=("hard",))


@pytest.mark.parametrize(
    ("low", "mean", "high", "margin", "expected"),
    [
        (0.05, 0.2, 0.4, 0.0, verdicts.HOLDS),
        (0.01, 0.05, 0.2, 0.0, verdicts.SOME),
        (-0.3, -0.1, 0.05, 0.0, verdicts.NOT),
        (-0.3, 0.2, 0.6, 0.0, verdicts.OPEN),
        (0.01, 0.04, 0.08, 0.0, verdicts.SOME),
        (-0.02, 0.2, 0.4, -0.03, verdicts.HOLDS),
    ],
)
def test_a_task_s_word_follows_from_the_interval_alone(low, mean, high, margin, expected):
    assert verdicts.on_task(Interval(mean, low, high, 5), CLAIM._replace(margin=margin)) == expected


def test_a_verdict_asks_all_tasks():
    holds, some, no, undecided = verdicts.HOLDS, verdicts.SOME, verdicts.NOT, verdicts.OPEN
    assert verdicts.verdict([holds, holds]) == "holds"
    assert {verdicts.verdict(parts) for parts in ([holds, no], [some, some], [holds, undecided])} == {"holds in part"}
    assert verdicts.verdict([no, no]) == "does not hold here"
    assert verdicts.verdict([no, undecided]) == "undecided"


def filled(folder, gains) -> Store:
    store = Store(folder)
    for method, gain in gains.items():
        for seed in range(300, 300 + len(gain)):
            store.put(f"report|hard|{method}|0|{seed}", result(0.3 + gain[seed - 300]))
    return store


def test_an_effect_is_paired_by_seed_and_counted_in_the_claim_s_direction(tmp_path):
    plain = [0.0, 0.1, 0.2, 0.3, 0.4]
    store = filled(
        tmp_path, {"plain GRPO": plain, "m": [value + 0.1 + 0.01 * (i % 2) for i, value in enumerate(plain)]}
    )
    claim = CLAIM._replace(metric="final", at_least=0.05)
    assert verdicts.judged(claim, store).verdict == "holds"
    assert verdicts.judged(claim._replace(direction="lower"), store).verdict == "does not hold here"
    del store.of("report", "hard", "m")[304]
    assert verdicts.judged(claim, store).verdict == "not run yet"


def test_every_claim_is_about_a_row_of_the_table_and_a_metric_that_there_is():
    from benchmarks.claims.methods import table

    known = measures.measures(result(0.5), HARD)
    for claim in verdicts.claims():
        assert claim.method in table() and claim.against in table(), claim
        assert claim.untestable or claim.metric in known, claim
        assert claim.at_least >= claim.margin and bool(claim.untestable) != bool(claim.tasks)


def test_the_design_is_orthogonal_and_folding_clears_main_effects_of_pairs():
    rows = screening.design()
    assert (rows[:12].T @ rows[:12] == 12 * np.eye(11)).all()
    products = np.stack([rows[:, i] * rows[:, j] for i in range(8) for j in range(i)])
    assert (products @ rows == 0).all()


def test_the_screen_finds_the_effects_that_were_put_in():
    rows, names = screening.design(), list(screening.FACTORS)
    truth = 0.5 + 0.1 * rows[:, 1] - 0.05 * rows[:, 4] + 0.08 * rows[:, 0] * rows[:, 2]
    found = {seed: truth + 0.001 * np.random.default_rng(seed).normal(size=24) for seed in range(5)}
    main = screening.main_effects(found)
    assert main[names[1]].mean == pytest.approx(0.2, abs=0.01) and main[names[4]].mean == pytest.approx(-0.1, abs=0.01)
    assert all(abs(main[name].mean) < 0.01 for name in (names[0], names[2], "empty 1"))
    pairs = screening.pair_effects(found)
    assert max(pairs, key=lambda pair: abs(pairs[pair].mean)) == (names[0], names[2])


def test_a_row_of_the_screen_has_the_terms_that_are_on():
    signs = dict.fromkeys(screening.FACTORS, -1)
    assert screening.combined(signs).recipe == {"objective": {"advantages": [{"grpo": {}}]}}
    both = screening.combined(signs | {"KL-Cov": 1, "anchor": 1}).recipe["objective"]["penalties"]
    assert [list(term) for term in both] == [["kl_cov"], ["kl_ref"]]


def test_the_law_foretells_a_run_that_obeys_it_and_a_mean_does_not():
    points = [[step, 1.0 - 0.4 * math.exp(h), h] for step, h in enumerate(np.linspace(0.6, 0.05, 20))]
    found = law.foretold(points)
    assert found is not None and found.error < 1e-9 and found.constant > 0.1 and found.a == pytest.approx(0.4)
    assert law.foretold([[0, 0.1, 0.2]] * 4) is None


def test_the_law_is_told_the_prefix_alone():
    entropies = np.linspace(0.6, 0.05, 20)
    points = [[step, 1.0 - 0.4 * math.exp(h) + 0.2 * (step >= 10), h] for step, h in enumerate(entropies)]
    found = law.foretold(points)
    assert found is not None and found.error == pytest.approx(0.2) and found.last == pytest.approx(0.2)
