"""Clip-Cov and KL-Cov elsewhere: the committed numbers are ours today, and the pages say what they say."""

from __future__ import annotations

import importlib
import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import forks
from benchmarks.forks_engines import NAMES, ours

TERMS = {"clip_cov": "entropostat.rl.weights.clip_cov", "kl_cov": "entropostat.rl.penalties.kl_cov"}


@pytest.fixture(scope="module")
def recorded() -> dict[str, Any]:
    return json.loads(forks.RESULTS.read_text())


def test_the_page_is_what_the_results_say(recorded: dict[str, Any]) -> None:
    assert forks.RESULTS.with_suffix(".md").read_text() == forks.page(recorded)


@pytest.mark.parametrize("method", TERMS)
def test_the_table_of_the_method_s_own_page_has_these_numbers(method: str, recorded: dict[str, Any]) -> None:
    text = str(importlib.import_module(TERMS[method]).__doc__)
    for line in forks.said(recorded, method):
        assert f"\n    {line}" in text, line


@pytest.mark.parametrize("method", TERMS)
def test_ours_are_measured_alike_today(method: str, recorded: dict[str, Any]) -> None:
    (row,) = (r for r in forks.of(recorded, method, "common") if r["engine"] == "here" and r["micro"] == 64)
    again = forks.measure(ours, method, row["options"], forks.mini_batch(), 64)
    for key, value in again.items():
        assert row[key] == pytest.approx(value, rel=1e-9), key


def test_micro_batches_change_nothing_here_and_much_elsewhere(recorded: dict[str, Any]) -> None:
    def measured(engine: str, method: str) -> list[tuple[float, ...]]:
        rows = [row for row in forks.of(recorded, method, "common") if row["engine"] == engine]
        return [tuple(round(row[key] or 0, 9) for key in ("selected", "meant", "added")) for row in rows]

    for method in TERMS:
        assert len(set(measured("here", method))) == 1
        assert len(set(measured("verl 0.9.1", method))) == 3
    assert measured("here, scope: micro", "kl_cov") == measured("verl 0.9.1", "kl_cov")
    for drawn in measured("verl 0.9.1", "clip_cov"), measured("here, scope: micro", "clip_cov"):
        assert [share for share, *_ in drawn] == pytest.approx([6 / 32768, 7 / 32768, 0], abs=1e-8)


def test_divided_advantages_reach_no_band_and_leave_the_penalty_alone(recorded: dict[str, Any]) -> None:
    tokens = forks.PROMPTS * forks.GROUP * forks.TOKENS
    data = forks.mini_batch()
    assert forks.covariance(data).max() > 1 > 1000 * forks.covariance(data).max() / tokens
    by = {(row["method"], row["engine"], row["settings"], row["micro"]): row for row in recorded["rows"]}
    assert by["clip_cov", "SkyRL 0.3.0", "common", 64]["selected"] == 0
    raw = by["clip_cov", "SkyRL 0.3.0, advantages undivided", "common", 64]
    assert raw["selected"] == by["clip_cov", "verl 0.9.1", "common", 64]["selected"] > 0
    penalty = by["kl_cov", "SkyRL 0.3.0", "default", 64]
    assert penalty["added"] == pytest.approx(int(0.2 * tokens)) and penalty["policy"] < 1


def test_with_a_method_off_nothing_is_counted_as_selected() -> None:
    data = forks.mini_batch()
    for method, off in forks.OFF.items():
        nothing = forks.measure(ours, method, {**forks.COMMON[method], **off}, data, 64)
        assert nothing["selected"] == nothing["added"] == 0 and nothing["meant"] is None


def test_their_names_stand_for_all_of_our_options() -> None:
    assert all(set(NAMES[engine][method]) == set(forks.COMMON[method]) for engine in NAMES for method in TERMS)
    assert all(set(off) <= set(forks.COMMON[method]) for method, off in forks.OFF.items())


def test_trl_has_neither() -> None:
    import trl

    sources = Path(str(trl.__file__)).parent.rglob("*.py")
    assert not [file for file in sources if "clip_cov" in (text := file.read_text().lower()) or "kl_cov" in text]
