"""What goes into the report: rows and panels, targets, tables, extracts. No browser."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.synthetic_runs import HOSTILE, KNOB, write_run

from entropostat.metrics import ROWS, Metric
from entropostat.readers import rows
from entropostat.readers.damage import Damage
from entropostat.readers.rows import Row
from entropostat.report.extracts import COMPLETIONS, completions, heat_maps, spread
from entropostat.report.layout import layout
from entropostat.report.page import page
from entropostat.report.payload import payload, to_json
from entropostat.report.record import records
from entropostat.report.series import columns
from entropostat.report.tables import differences, flatten
from entropostat.report.targets import targets

DECLARED = {
    "entropy": Metric("entropy", "nats", "target", "mean", "state", "Entropy"),
    "entropy/p10": Metric("entropy/p10", "nats", "none", "low", "state", "Percentiles"),
    "entropy/p90": Metric("entropy/p90", "nats", "none", "high", "state", "Percentiles"),
    "control/a.coef/output": Metric("control/<knob>/output", "1", "none", "value", "control", "Output"),
    "control/b.coef/output": Metric("control/<knob>/output", "1", "none", "value", "control", "Output"),
    "grad_norm": Metric("grad_norm", "1", "down", "norm", "health", "Gradient"),
}


def test_rows_and_panels_are_the_schemas_and_unknown_keys_come_last() -> None:
    rows = layout(["grad_norm", "x@16", "x@4", *DECLARED], find=DECLARED.get)
    assert [row["id"] for row in rows] == ["state", "control", "health", "other"]
    assert rows[0]["title"] == ROWS["state"]
    panels = {
        (row["id"], p["knob"], p["title"]): [m["key"] for m in p["metrics"]] for row in rows for p in row["panels"]
    }
    assert [m["label"] for m in rows[0]["panels"][1]["metrics"]] == ["p10", "p90"]
    assert panels == {
        ("state", "", "Entropy"): ["entropy"],
        ("state", "", "Percentiles"): ["entropy/p10", "entropy/p90"],
        ("control", "a.coef", "Output"): ["control/a.coef/output"],  # a section for each knob, not both in one chart
        ("control", "b.coef", "Output"): ["control/b.coef/output"],
        ("health", "", "Gradient"): ["grad_norm"],
        ("other", "", "x@4"): ["x@4"],
        ("other", "", "x@16"): ["x@16"],
    }


def test_every_number_of_a_run_is_in_some_panel(tmp_path: Path) -> None:
    data = payload(records([write_run(tmp_path / "run", steps=6)]))
    shown = [metric["key"] for row in data["rows"] for panel in row["panels"] for metric in panel["metrics"]]
    assert sorted(shown) == sorted(set(shown)) == sorted(data["series"])
    assert {"entropy", f"control/{KNOB}/target", "plugin/alpha", "evaluate/hard/pass@1"} <= set(shown)


def test_a_loop_on_entropy_gives_the_entropy_its_target_by_recipe_or_by_its_values(tmp_path: Path) -> None:
    (with_recipe,) = records([write_run(tmp_path / "run", steps=30)])
    table = columns(with_recipe.run)
    assert targets(with_recipe, table) == {"entropy": f"control/{KNOB}/target"}
    (tmp_path / "run/recipe.yaml").unlink()
    (without,) = records([tmp_path / "run"])
    assert targets(without, table) == {"entropy": f"control/{KNOB}/target"}
    table[f"control/{KNOB}/signal"].values[:] = np.arange(30.0)
    assert targets(without, table) == {}
    data = payload([with_recipe])
    assert data["runs"][0]["ceiling"] == pytest.approx(np.log(8))
    assert data["runs"][0]["stages"] == [["hard", 15]]


def test_seeds_are_one_family_and_another_coefficient_is_another(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / f"s{seed}", seed=seed, steps=4) for seed in (0, 1)]
    folders.append(write_run(tmp_path / "swept", seed=0, steps=4, high=0.5))  # same name, by a sweep
    assert [run["family"] for run in payload(records(folders))["runs"]] == [0, 0, 1]


def test_runs_of_one_name_are_told_apart(tmp_path: Path) -> None:
    folders = [write_run(tmp_path / where / "run", steps=4) for where in ("a", "b")]
    assert [record.label for record in records([*folders, folders[0]])] == ["a/run", "b/run", "a/run (2)"]


def test_recipes_are_compared_by_the_names_of_terms_and_not_their_places() -> None:
    one = {"penalties": [{"kl_ref": {"coef": 0.1}}, {"entropy_bonus": {"name": "bonus", "coef": 1}}], "k": [1, 4]}
    assert dict(flatten(one)) == {
        "penalties.kl_ref.coef": "0.1",
        "penalties.bonus.name": "bonus",
        "penalties.bonus.coef": "1",
        "k": "[1, 4]",
    }
    assert differences([]) == []


def test_many_completions_are_cut_to_a_budget_that_covers_the_run() -> None:
    said = {"prompt": "p" * 500, "completion": "c" * 500, "rewards": {}, "advantage": None}
    many = [{"step": step, **said} for step in range(1, 1001) for _ in range(2)]
    cut = completions([many, many[:10]])
    assert cut["total"] == 2010 and len(json.dumps(cut["rows"])) < 1.1 * COMPLETIONS
    steps = {row["step"] for row in cut["rows"] if row["run"] == 0}
    assert {1, 1000} <= steps and max(np.diff(sorted(steps))) < 100
    assert len([row for row in cut["rows"] if row["run"] == 1]) == 10
    assert spread([]) == [] and spread([7]) == [7] and sorted(spread(list(range(9)))) == list(range(9))


def read_back(read: Callable[[Path, Damage], list[Row]], file: Path, rows: list[dict[str, Any]]) -> list[Row]:
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(file, Damage(file))


def test_a_completion_without_entropies_is_plain_text_and_a_chat_is_readable(tmp_path: Path) -> None:
    row = {"prompt": [{"role": "user", "content": "2+3"}], "completion": "5", "tokens": ["5"], "entropies": []}
    (plain,) = completions([read_back(rows.completions, tmp_path / "x", [{"step": 1, **row}])])["rows"]
    assert plain["prompt"] == "user: 2+3" and plain["text"] == "5" and "tokens" not in plain


def test_a_heat_map_merges_steps_and_leaves_other_bins_out(tmp_path: Path) -> None:
    drawn = [{"step": s, "key": "entropy", "edges": [0, 1, 2], "counts": [s, 400 - s]} for s in range(1, 401)]
    drawn.insert(0, {"step": 0, "key": "entropy", "edges": [0, 5, 9], "counts": [1, 1]})
    drawn.append({"step": 401, "key": "entropy", "edges": [0, 1], "counts": [1, 2]})
    (heat,) = heat_maps(read_back(rows.histograms, tmp_path / "x", drawn))
    assert len(heat["steps"]) == 200 and heat["steps"][0] == 2 and heat["steps"][-1] == 400
    first = heat["shares"][0][0] / 255 * heat["top"]
    assert first == pytest.approx((1 + 2) / 800, abs=0.003)


def test_no_text_of_a_run_can_end_the_script_that_holds_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / HOSTILE[:9].replace("/", "!"), name="evil", steps=4)
    (folder / "recipe.yaml").write_text(f"name: '{HOSTILE[:9]}'\n# {{{{DATA}}}} {{{{SCRIPT}}}}\n")
    data = to_json(payload(records([folder])))
    assert "<" not in data and json.loads(data)["completions"]["rows"][0]["text"] == HOSTILE
    text = page(HOSTILE, data)
    assert len(re.findall("</script", text)) == 2 and "<img" not in text
    assert f"<title>{escape(HOSTILE)}</title>" in text
    assert f'data-live="false">{data}</script>' in text  # its braces are no place of the template


def test_a_policy_lets_only_our_own_script_run() -> None:
    still, live = page("t", "{}"), page("t", "{}", live=True)
    assert "default-src 'none'" in still and "connect-src 'none'" in still and "'unsafe-inline'" not in still
    assert "connect-src 'self'" in live
    assert not re.search(r"""(?:src|href)=["']?(?:https?:)?//""", still)
