"""The report in a real Chromium, at the width of a desktop and of a phone."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from support import run_files
from support.browser import DESKTOP, PHONE, Browser
from support.synthetic_runs import KNOB, write_run

SEEDS = (0, 1, 2)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("runs")
    warm = [write_run(folder / f"warm-s{seed}", seed=seed) for seed in SEEDS]
    return [*warm, write_run(folder / "hot", name="hot", target=0.9, high=0.1)]


@pytest.fixture(scope="module")
def report(runs: list[Path], made: Callable[..., Path]) -> Path:
    return made(*runs)


def logged(run: Path, key: str) -> dict[int, float]:
    rows = run_files.rows(run)
    return {row["step"]: row[key] for row in rows if key in row}


@pytest.mark.parametrize("size", [DESKTOP, PHONE], ids=["desktop", "phone"])
def test_the_pointer_shows_what_was_logged_and_nothing_is_fetched(
    browser: Browser, report: Path, runs: list[Path], size: tuple[int, int]
) -> None:
    browser.size(size)
    browser.open(report)
    browser.click("#seeds")
    for key, share in (
        ("entropy", 0.31),
        ("entropy", 0.9),
        ("kl", 0.5),
        (f"control/{KNOB}/signal", 0.77),
        ("evaluate/hard/pass@1", 0.97),
    ):
        seen = browser.hover(key, share)
        assert seen["values"] == {run.name: logged(run, key)[seen["step"]] for run in runs}
        assert all(f"{value:.5g}"[:5] in seen["text"] for value in seen["values"].values()), seen
    wide, window = browser.run("return [document.documentElement.scrollWidth, innerWidth]")
    assert wide <= window == size[0]
    assert browser.requests() == [report.as_uri()]
    assert browser.complaints() == []


def test_no_request_would_get_out(browser: Browser, report: Path) -> None:
    browser.open(report)
    for attempt in (
        "fetch('http://127.0.0.1:9/')",
        "new Promise((_, no) => Object.assign(new Image(), {onerror: no, src: 'http://127.0.0.1:9/x.png'}))",
    ):
        assert (
            browser.driver.execute_async_script(
                f"{attempt}.then(() => arguments[0]('out'), () => arguments[0]('refused'))"
            )
            == "refused"
        )
    refused = " ".join(browser.complaints())
    assert "connect-src" in refused and "img-src" in refused
    browser.run(
        "const s = document.createElement('script'); s.textContent = 'document.title = \"OWNED\"'; document.body.append(s)"
    )
    assert browser.run("return document.title") != "OWNED"


def test_seeds_are_a_band_or_single_lines(browser: Browser, report: Path, runs: list[Path]) -> None:
    browser.open(report)
    assert browser.run("return [...document.querySelectorAll('#legend .chip')].map(c => c.innerText)") == [
        "warm (3 seeds)",
        "hot",
    ]
    seen = browser.hover("entropy", 0.5)
    values = [logged(runs[seed], "entropy")[seen["step"]] for seed in SEEDS]
    assert seen["values"]["warm (3 seeds)"] == pytest.approx(sum(values) / 3, rel=1e-12)
    assert "3 seeds" in seen["text"] and f"{min(values):.4g}" in seen["text"] and f"{max(values):.4g}" in seen["text"]
    browser.click("#seeds")
    assert set(browser.hover("entropy", 0.5)["values"]) == {run.name for run in runs}
    # A run that is taken out of the legend is taken out of the charts.
    browser.click("#legend .chip")
    assert set(browser.hover("entropy", 0.5)["values"]) == {run.name for run in runs[1:]}


def test_it_follows_the_system_and_then_the_button(browser: Browser, report: Path) -> None:
    ground = "return getComputedStyle(document.body).backgroundColor"
    browser.scheme("dark")
    browser.open(report)
    dark = browser.run(ground)
    browser.scheme("light")
    browser.until("document.documentElement.dataset.theme === 'light'")
    light = browser.run(ground)
    assert dark != light
    browser.click("#theme")
    assert browser.run(ground) == dark
    # The canvas is drawn anew in the other colours.
    assert browser.hover("entropy", 0.5)["values"]


def test_search_leaves_the_charts_and_completions_that_fit(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.type("#search", "plugin")
    assert browser.run(
        "return [...document.querySelectorAll('.card')].filter(c => c.offsetParent).map(c => c.dataset.keys)"
    ) == ["plugin/alpha"]
    browser.type("#search", "")
    assert browser.run("return [...document.querySelectorAll('.card')].filter(c => c.offsetParent).length") > 5
    everything = browser.run("return document.querySelectorAll('.completion').length")
    browser.type("#completion-search", "owned")
    assert browser.run("return document.querySelectorAll('.completion').length") == 4 < everything
    assert browser.run("return document.querySelector('.completion mark').textContent") == "OWNED"


def test_text_of_a_run_is_text(browser: Browser, report: Path) -> None:
    browser.open(report)
    browser.type("#completion-search", "</script>")
    assert '</script><script>document.title = "OWNED"</script><img src=x' in browser.run(
        "return document.querySelector('.completion .said').textContent"
    )
    assert browser.run("return [document.title, document.querySelectorAll('main img, main script').length]") == [
        "warm-s0 · warm-s1 · warm-s2 and 1 more",
        0,
    ]


def test_tokens_are_coloured_by_their_entropy(browser: Browser, report: Path, runs: list[Path]) -> None:
    browser.open(report)
    rows = [json.loads(line) for line in (runs[-1] / "completions.jsonl").read_text().splitlines()]
    wanted = [row for row in rows if "tokens" in row][-1]
    run = "const s = document.querySelector('select[aria-label={0}]'); s.value = '{1}'; s.dispatchEvent(new Event('change'))"
    browser.run(run.replace("{0}", "run").replace("{1}", "3"))
    browser.run(run.replace("{0}", "step").replace("{1}", str(wanted["step"])))
    shown = browser.run(
        "return [...document.querySelector('.completion').querySelectorAll('.token')].map(t => [t.textContent, Number(t.dataset.entropy), getComputedStyle(t).backgroundColor])"
    )
    assert [token[0] for token in shown] == wanted["tokens"]
    assert [token[1] for token in shown] == pytest.approx(wanted["entropies"], abs=0.005)
    alpha = {token[1]: float(token[2].rstrip(")").rpartition(",")[2]) for token in shown if token[2].startswith("rgba")}
    assert alpha[max(alpha)] > 0.6 and alpha[min(alpha)] < 0.05


def test_the_heat_map_says_what_a_column_holds(browser: Browser, report: Path) -> None:
    browser.open(report)
    card = "document.querySelectorAll('.card[data-keys=\"entropy\"] > .plot > canvas')"
    browser.run(
        "[...document.querySelectorAll('.card')].find(c => c.innerText.startsWith('Histogram')).scrollIntoView({block: 'center'})"
    )
    box = browser.until(f"{card}.length && (b => [b.left, b.top])({card}[0].getBoundingClientRect())")
    # The left end, at the height of bin 13 of 20: near the peak of the first histogram.
    at = {"x": box[0] + 48, "y": box[1] + 8 + 156 * (1 - 13.5 / 20)}
    browser.driver.execute_cdp_cmd("Input.dispatchMouseEvent", {"type": "mouseMoved", **at})
    text = browser.until(
        "[...document.querySelectorAll('.tip')].map(t => t.hidden ? '' : t.textContent).find(t => t.includes('%'))"
    )
    assert text.startswith("step 1: ") and text.endswith("in 1.3 to 1.4")


def test_differing_recipe_keys_are_shown_and_no_others(browser: Browser, report: Path) -> None:
    browser.open(report)
    rows = browser.run(
        "return [...document.querySelectorAll('#recipes tbody tr')].map(r => [...r.children].map(c => c.innerText))"
    )
    pid = "objective.penalties.entropy_bonus.coef.pid"
    assert rows == [
        ["name", "warm", "warm", "warm", "hot"],
        ["seed", "0", "1", "2", "0"],
        [f"{pid}.target", "0.5", "0.5", "0.5", "0.9"],
        [f"{pid}.high", "0.01", "0.01", "0.01", "0.1"],
    ]
