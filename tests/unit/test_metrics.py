"""The metric schema: complete, found by key, and the same wherever it is shown."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from entropostat import catalog
from entropostat.__main__ import main
from entropostat.dashboard import page
from entropostat.metrics import ROWS, find, find_in, kinds, table
from entropostat.metrics.panels import panels
from entropostat.metrics.trackers import definition, in_trackio, logged_key
from entropostat.recipe import load
from entropostat.rl import signals
from entropostat.rl.control import REPORTED

PAGE = Path(__file__).parents[2] / "docs" / "dashboard.md"
UNITS = {"nats", "share", "tokens", "reward", "steps", "s", "ms", "bytes", "1", "flag"}


def test_every_metric_is_declared_once_and_said_in_plain_words():
    keys = [metric.key for metric in table()]
    assert len(keys) == len(set(keys))
    for metric in table():
        assert metric.unit in UNITS, metric
        assert len(metric.meaning) > 8 and metric.meaning.endswith("."), metric
        assert find(metric.key.replace("<", "").replace(">", "")) is not None, metric


def test_every_row_has_metrics():
    assert {metric.row for metric in table()} == set(ROWS)


def test_the_metrics_of_a_panel_have_one_unit():
    """Or they could not be drawn over each other."""
    gate = "control/<knob>/gate"  # of SAFE a factor, of every other controller a flag
    for panel in panels(table()):
        units = {m.unit for m in panel.metrics if m.key != gate}
        assert len(units) == 1, panel


def test_what_controllers_report_and_read_is_declared():
    assert {m.key.rpartition("/")[2] for m in table() if m.key.startswith("control/<knob>/")} == set(REPORTED)
    for signal in set(signals.ROLLOUT) - {"reward", "reward_std"}:
        assert find(f"signal/{signal}") is not None


def test_every_metric_of_every_term_is_declared_with_its_own_meaning():
    for terms in catalog.load().terms.values():
        for info in terms.values():
            for name, meaning in info.provides.items():
                metric = find(f"{info.name}/{name}")
                assert metric is not None and metric.meaning == meaning


def test_the_closest_declaration_wins():
    for key, declared in {
        "evaluate/hard/pass@16": "evaluate/<set>/pass@<k>",
        "evaluate/hard/entropy": "evaluate/<set>/entropy",
        "forces/kl_ref/entropy": "forces/<term>/entropy",
        "control/penalties.kl_ref.coef/output": "control/<knob>/output",
        "kl_ref/kl": "kl_ref/kl",
    }.items():
        metric = find(key)
        assert metric is not None and metric.key == declared
    assert find("nothing/of/ours") is None


def test_a_term_with_a_name_of_its_own_is_found_by_the_recipe():
    names = kinds({"penalties": [{"kl_ref": {"name": "leash", "coef": 0.1}}, "entropy_bonus"], "loss": {"trl": {}}})
    assert names == {"leash": "kl_ref"}
    assert find("leash/kl") is None
    assert find_in("leash/kl", names) == find("kl_ref/kl") is not None
    assert find_in("entropy_bonus/entropy", names) is not None


def test_trackio_gets_the_rows_and_the_keys_come_back():
    """``dcpo/entropy`` and ``forces/dcpo/entropy`` are two metrics, which must not fall together."""
    keys = [m.key.replace("<", "").replace(">", "") for m in table()]
    keys += ["forces/dcpo/entropy", "leash/kl", "nothing/of/ours"]
    names = {key: in_trackio(key, {"leash": "kl_ref"}) for key in keys}
    assert len(set(names.values())) == len(keys)
    assert {key: logged_key(name) for key, name in names.items()} == {key: key for key in keys}
    assert names["entropy"] == "1 State/entropy"
    assert names["control/knob/output"] == "2 Control/knob/output"
    assert names["leash/kl"] == "4 Trust/leash/kl"
    assert names["nothing/of/ours"] == "train/nothing/of/ours"


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("reward", {"summary": "max,last"}),
        ("frac_reward_zero_std", {"summary": "min,last"}),
        ("entropy", {}),
        ("epoch", {"hidden": True}),
    ],
)
def test_wandb_is_told_the_axis_the_good_side_and_what_to_hide(key: str, told: dict[str, object]) -> None:
    assert definition(key, {}) == {"name": f"train/{key}", "step_metric": "train/global_step", **told}


def test_wandb_is_told_nothing_of_what_is_not_declared():
    assert definition("nothing/of/ours", {}) is None


def test_the_page_shows_the_schema():
    text = PAGE.read_text(encoding="utf-8")
    assert page.filled(text) == text, "run `make docs` and commit"


def test_the_page_must_have_a_table_for_every_row():
    with pytest.raises(ValueError, match="metrics: text"):
        page.filled(PAGE.read_text(encoding="utf-8").replace("<!-- metrics: text -->", ""))


def test_the_schema_is_printed_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "metrics", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert list(printed["rows"]) == list(ROWS)
    assert [metric["key"] for metric in printed["metrics"]] == [metric.key for metric in table()]


@pytest.mark.parametrize("change", re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
def test_every_change_that_the_page_advises_is_a_recipe(change: str, tmp_path: Path) -> None:
    (tmp_path / "child.yaml").write_text(f"extends: entropostat:quickstart/plain.yaml\nname: child\n{change}")
    load(tmp_path / "child.yaml")


def test_every_metric_that_the_page_speaks_of_is_declared():
    words = re.sub(r"<!-- metrics.*?<!-- end -->", "", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    named = {key for key in re.findall(r"`([a-z_]+/[\w@<>/]+)`", words) if not key.startswith("train/")}
    assert len(named) > 10
    assert {key for key in named if find(key.replace("<", "").replace(">", "")) is None} == set()
