"""Seeds of one recipe share a column: means, intervals, paired tests, the best of a line, and conditions for scripts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entropostat.compare.figure import draw
from entropostat.compare.groups import grouped, paired_p
from entropostat.compare.table import run, table
from entropostat.readers.run_folder import Run

PASS = "evaluate/hard/pass@1"


def write(folder: Path, seed: int, value: float, coef: float = 0.0, entropy: float = 0.5) -> Path:
    folder.mkdir(parents=True)
    rows = [{"step": 1, "loss": 0.0, "entropy": entropy}, {"step": 1, PASS: value}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "run.json").write_text(json.dumps({"seed": seed, "stages": {}}))
    recipe = {"name": folder.name, "seed": seed, "objective": {"penalties": [{"kl_ref": {"coef": coef}}]}}
    (folder / "recipe.yaml").write_text(json.dumps(recipe))
    return folder


def pair(root: Path, first: list[float], second: list[float]) -> list[str]:
    sides = [write(root / f"plain-s{s}", s, value) for s, value in enumerate(first)]
    return list(map(str, [*sides, *(write(root / f"held-s{s}", s, v, coef=0.3) for s, v in enumerate(second))]))


def test_runs_that_differ_in_their_seed_alone_share_a_column_whatever_their_order(tmp_path: Path) -> None:
    folders = pair(tmp_path, [0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    first, second = grouped(Run.read(Path(f)) for f in folders)
    assert (first.name, [r.seed for r in first.runs]) == ("plain", [0, 1, 2])
    assert first.values(PASS) == {0: 0.1, 1: 0.2, 2: 0.3} and second.last(PASS) == pytest.approx(0.8)
    assert first.half_width(PASS) == pytest.approx(4.302653 * 0.1 / 3**0.5, rel=1e-6)
    mixed = grouped(Run.read(Path(f)) for f in [folders[4], folders[2], folders[3], folders[0]])
    assert [group.name for group in mixed] == ["held", "plain"] and [r.seed for r in mixed[0].runs] == [0, 1]


def test_a_seed_that_comes_twice_is_no_second_seed(tmp_path: Path) -> None:
    runs = [Run.read(write(tmp_path / name, 0, 0.5)) for name in ("one", "two")]
    assert [group.name for group in grouped(runs)] == ["one", "two"]


def test_the_test_is_paired_and_exact(tmp_path: Path) -> None:
    # Every seed gains a little, far less than the seeds differ: only a paired test sees it. p = 2 / 2^6.
    levels = [0.1, 0.9, 0.4, 0.7, 0.2, 0.5]
    folders = pair(tmp_path, levels, [x + 0.01 for x in levels])
    first, second = grouped(Run.read(Path(f)) for f in folders)
    assert paired_p(first, second, PASS) == pytest.approx(2 / 64)
    shifted = grouped(Run.read(Path(f)) for f in pair(tmp_path / "b", levels, [*[x + 0.01 for x in levels[1:]], 0.0]))
    assert paired_p(*shifted, PASS) > 0.3
    assert paired_p(first, first, PASS) == 1.0


def test_the_best_of_a_line_is_marked_where_the_metric_has_a_better_side(tmp_path: Path) -> None:
    text = table(grouped(Run.read(Path(f)) for f in pair(tmp_path, [0.1, 0.2], [0.7, 0.8])))
    line = next(row for row in text.splitlines() if row.startswith("hard/pass@1"))
    assert line.count("*") == 1 and line.rstrip().endswith("*") and "0.750 ±0.635 p 0.500" in line
    entropy = next(row for row in text.splitlines() if row.startswith("training entropy"))
    assert "*" not in entropy, "no entropy is better by itself"


def test_the_picture_draws_seeds_as_bands(tmp_path: Path) -> None:
    draw(grouped(Run.read(Path(f)) for f in pair(tmp_path, [0.1, 0.2], [0.7, 0.8])), tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("condition", "code", "said"),
    [
        ("hard/pass@1 >= 0.1", 0, "holds"),
        (f"{PASS} < 0.95", 0, "holds"),
        ("hard/pass@1 >= 0.5", 1, "plain has 0.4667"),
        ("hard/pass@1 > first", 0, "holds"),
        ("hard/pass@1 < first", 1, "held has 0.4767"),
        ("entropy > first", 1, "held has 0.5"),
        ("hard/pass@1 is 3", 2, "write METRIC OPERATOR NUMBER"),
        ("hard/pas@1 > 0.5", 2, "did you mean 'evaluate/hard/pass@1'?"),
    ],
)
def test_a_condition_decides_the_exit_code(tmp_path: Path, capsys, condition: str, code: int, said: str) -> None:
    levels = [0.1, 0.9, 0.4, 0.7, 0.2, 0.5]
    folders = pair(tmp_path, levels, [x + 0.01 for x in levels])
    assert run(folders, None, [condition]) == code
    assert said in "".join(capsys.readouterr())


def test_more_than_the_first_asks_for_significance(tmp_path: Path, capsys) -> None:
    folders = pair(tmp_path, [0.1, 0.2, 0.3], [0.7, 0.8, 0.9])
    assert run(folders, None, ["hard/pass@1 > first"]) == 1
    assert "p is 0.250" in capsys.readouterr().out
    assert run(folders, None, ["hard/pass@1 >= first"]) == 0


def test_machines_get_the_same_numbers(tmp_path: Path, capsys) -> None:
    assert run(pair(tmp_path, [0.1, 0.2], [0.7, 0.8]), None, as_json=True) == 0
    first, second = json.loads(capsys.readouterr().out)
    cell = second["metrics"][PASS]
    assert cell["mean"] == pytest.approx(0.75) and cell["best"] and cell["p_to_first"] == 0.5
    assert first["seeds"] == [0, 1] and first["metrics"][PASS]["values"] == [0.1, 0.2]
