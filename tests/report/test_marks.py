"""What is drawn around the curves, looked up in the pixels of the canvas."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import run_files
from support.browser import Browser
from support.synthetic_runs import write_run

PIXEL = """
const card = R.cards.find((one) => one.panel && one.root.dataset.keys.split(' ').includes(arguments[0]));
const u = card.made;
const at = (step, value) => [Math.round(u.valToPos(step, 'x', true)), Math.round(u.valToPos(value, 'y', true))];
const read = ([x, y]) => [...u.ctx.getImageData(x, y, 1, 1).data];
"""


@pytest.fixture
def chart(
    browser: Browser, tmp_path: Path, made: Callable[..., Path]
) -> Callable[[str, list[tuple[float, float]]], Any]:
    """Opens a report and gives the colours at (step, value) of a chart, and the top of its scale."""
    browser.open(made(write_run(tmp_path / "run", steps=210, target=0.5)))

    def look(key: str, points: list[tuple[float, float]]) -> Any:
        browser.hover(key, 0.5)
        script = PIXEL + "return [arguments[1].map((point) => read(at(...point))), u.scales.y.max, u.scales.y.distr]"
        return browser.run(script, key, points)

    return look


def test_the_entropy_has_its_target_as_a_band_of_ten_percent_and_a_mark_at_each_stage(
    chart: Any, browser: Browser
) -> None:
    (inside, above, below, stage, beside), top, _ = chart(
        "entropy", [(158, 0.548), (158, 0.62), (158, 0.44), (105, 0.9), (108, 0.9)]
    )
    assert inside != above == below == beside != stage
    assert browser.run("return document.querySelector('.card[data-keys=entropy] header').innerText").endswith(
        "± 10 %\nlog"
    )
    # ln 8 is far above this curve: its place is told, not shown.
    assert top < math.log(8)


def test_the_ceiling_is_a_line_where_the_entropy_comes_near_it(
    browser: Browser, tmp_path: Path, made: Callable[..., Path]
) -> None:
    folder = write_run(tmp_path / "run", steps=200, target=1.5)
    browser.open(made(folder))
    browser.hover("entropy", 0.5)
    y = "u.valToPos(arguments[1], 'y', true)"
    row = f"[...u.ctx.getImageData(u.bbox.left, Math.round({y}) - 1, u.bbox.width, 3).data].filter((v, i) => i % 4 === 3 && v > 80).length"
    assert browser.run(PIXEL + f"return {row}", "entropy", math.log(8)) > 200
    assert browser.run(PIXEL + f"return {row}", "entropy", math.log(8) * 1.03) < 100


def test_a_series_with_a_few_huge_values_starts_on_a_logarithmic_scale(
    browser: Browser, tmp_path: Path, made: Callable[..., Path]
) -> None:
    folder = write_run(tmp_path / "run", steps=60)
    rows = run_files.rows(folder)
    for row in rows:
        row["heavy"] = 1000.0 if row["step"] == 30 else 0.0 if row["step"] == 1 else 0.1 + row["step"] / 100
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    browser.open(made(folder))
    distr = PIXEL + "return u.scales.y.distr"
    for key, wanted in (("heavy", 3), ("entropy", 1)):
        browser.hover(key, 0.5)
        assert browser.run(distr, key) == wanted
    browser.click('.card[data-keys="heavy"] .log')
    browser.hover("heavy", 0.5)
    assert browser.run(distr, "heavy") == 1


def test_smoothing_never_shows_a_change_before_its_stage(
    browser: Browser, tmp_path: Path, made: Callable[..., Path]
) -> None:
    browser.open(made(write_run(tmp_path / "run", steps=60)))
    falling = [20.0 - i for i in range(20)] + [100.0] * 20
    script = "return R.smoothed(Array.from(arguments[0], (_, i) => i + 1), arguments[0], arguments[1])"
    within, blind = (browser.run(script, falling, edges) for edges in ([20], []))
    assert within[19] == 3.5 and within[20] == 100.0  # the median of 6 to 1, all before the edge
    assert blind[19] == 6.0
    assert browser.run("return R.smoothed([1, 2, 3, 4], [1, 2, 4, 8], [])") == [3.0] * 4
    # Without it the curve is what was logged.
    drawn = "const u = R.cards.find((one) => one.panel && one.root.dataset.keys === arguments[0]).made; return u.data.length"
    browser.hover("reward", 0.5)
    assert browser.run(drawn, "reward") == 3
    browser.click("#smooth")
    browser.hover("reward", 0.5)
    assert browser.run(drawn, "reward") == 2
