"""How large a report gets, and how fast it opens."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from support.browser import Browser
from support.synthetic_runs import write_wide

LIMIT = 3_000_000
SECONDS = 2.0


def open_and_look(browser: Browser, run: Path, file: Path) -> float:
    """Seconds until the first charts are drawn. Then values are compared with the log at two places."""
    start = time.monotonic()
    browser.open(file)
    browser.until("document.querySelectorAll('.card.drawn').length > 0")
    seconds = time.monotonic() - start
    rows = {row["step"]: row for row in map(json.loads, (run / "metrics.jsonl").open())}
    for key in ("group0/metric0", "group7/metric27"):
        seen = browser.hover(key, 0.4)
        assert seen["values"] == {run.name: rows[seen["step"]][key]}
        near = [row[key] for row in rows.values() if seen["step"] - len(rows) // 500 < row["step"] <= seen["step"]]
        drawn = [float(word) for word in seen["text"].rpartition("\t")[2].split(" to ")]
        assert drawn == pytest.approx([min(near), max(near)], rel=1e-3)
    assert browser.run("return document.querySelectorAll('.card.drawn').length") < 40  # the rest waits
    return seconds


def test_a_run_of_thousands_of_steps_shows_recorded_ones(
    browser: Browser, tmp_path: Path, made: Callable[..., Path]
) -> None:
    run = write_wide(tmp_path / "run", steps=2_000, metrics=40)
    open_and_look(browser, run, made(run))


@pytest.mark.slow
def test_ten_thousand_steps_of_two_hundred_metrics_open_in_two_seconds(
    browser: Browser, tmp_path: Path, made: Callable[..., Path], record_property: Callable[[str, object], None]
) -> None:
    run = write_wide(tmp_path / "run", steps=10_000, metrics=200)
    file = made(run)
    seconds = min(open_and_look(browser, run, file) for _ in range(3))
    print(f"{file.stat().st_size / 1e6:.2f} MB, first charts after {seconds:.2f} s")
    record_property("seconds", seconds)
    assert file.stat().st_size < LIMIT and seconds < SECONDS
