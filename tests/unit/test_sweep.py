"""A grid: its runs, their names, and what a sweep does with them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from entropostat.__main__ import main
from entropostat.cli import sweep as command
from entropostat.cli.grid import Axis, expand, parse_seeds, shortened
from entropostat.recipe.errors import RecipeError

COEF = "objective.penalties.kl_ref.coef"


def test_the_grid_is_every_combination_with_seeds_innermost() -> None:
    points = expand("run", [Axis.parse(f"{COEF}=.1,.3"), Axis.parse("sampler.temperature=1")], [0, 1])
    assert [p.name for p in points] == [
        "run-coef=0.1-temperature=1-s0",
        "run-coef=0.1-temperature=1-s1",
        "run-coef=0.3-temperature=1-s0",
        "run-coef=0.3-temperature=1-s1",
    ]
    assert points[2].overrides == (f"{COEF}=0.3", "sampler.temperature=1") and points[2].seed == 0


def test_without_axes_there_are_the_seeds_and_without_seeds_the_grid() -> None:
    assert [p.name for p in expand("run", [], [3])] == ["run-s3"]
    assert [p.seed for p in expand("run", [Axis.parse("a=1,2")], [])] == [None, None]


def test_names_are_unique_and_fit_for_folders() -> None:
    points = expand("run", [Axis.parse('a="x/y","x y"'), Axis.parse("b=[[1, 2], {c: 3}]")], [])
    names = [p.name for p in points]
    assert len(set(names)) == 4 and all("/" not in name and " " not in name for name in names)
    assert [p.overrides[1] for p in points[:2]] == ["b=[1, 2]", 'b={"c": 3}']


def test_keys_with_the_same_end_are_told_apart() -> None:
    assert shortened(["a.kl.coef", "a.bonus.coef", "seed"]) == ["kl.coef", "bonus.coef", "seed"]


@pytest.mark.parametrize("text, seeds", [("0-3", [0, 1, 2, 3]), ("1,5,7-8,5", [1, 5, 7, 8]), (None, [])])
def test_seeds_are_lists_and_spans(text: str | None, seeds: list[int]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: Axis.parse("coef"), "write key.subkey=value,value"),
        (lambda: Axis.parse("coef=1,1"), "names a value twice"),
        (lambda: expand("r", [Axis.parse("a=1"), Axis.parse("a=2")], []), "--grid a: comes twice"),
        (lambda: parse_seeds("0..3"), "is no list of seeds"),
    ],
)
def test_what_is_no_grid_is_refused(call, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        call()


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    file = tmp_path / "tiny.yaml"
    file.write_text(f"extends: entropostat:quickstart/pid-kl.yaml\nname: tiny\noutput_dir: {tmp_path / 'runs'}\n")
    return file


def fake(calls: list[str], codes: dict[str, int] | None = None):
    """In place of a training: writes what a finished run leaves behind."""

    def train(path: str, overrides: list[str], log: Path, allow_code: bool) -> int:
        given = dict(word.split("=", 1) for word in overrides)
        name = json.loads(given["name"])
        calls.append(name)
        if code := (codes or {}).get(name, 0):
            return code
        folder = Path(json.loads(given["output_dir"])) / name
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(json.dumps({"step": 1, "loss": 0, "entropy": 0.5}) + "\n")
        (folder / "run.json").write_text(json.dumps({"seed": int(given["seed"])}))
        (folder / "recipe.yaml").write_text(json.dumps({"coef": given[COEF]}))
        (folder / "summary.json").write_text(json.dumps({"finished": True}))
        return 0

    return train


def test_it_trains_what_is_missing_and_ends_in_a_comparison(recipe: Path, monkeypatch, capsys) -> None:
    calls: list[str] = []
    words = ["sweep", str(recipe), "--grid", f"{COEF}=.1,.3", "--seeds", "0-1", "--jobs", "1"]
    monkeypatch.setattr(command, "_train", fake(calls, {"tiny-coef=0.3-s1": 3}))
    assert main(words) == 1
    assert "tiny-coef=0.3-s1: failed" in capsys.readouterr().err and len(calls) == 4
    monkeypatch.setattr(command, "_train", fake(calls))
    assert main(words) == 0
    out, err = capsys.readouterr()
    assert calls[4:] == ["tiny-coef=0.3-s1"], "what is finished is not run again"
    assert "3 are finished already" in err and "tiny-coef=0.1 2, tiny-coef=0.3 2" in out
    assert (recipe.parent / "runs" / "tiny-sweep" / "compare.png").is_file()


def test_another_grid_under_the_same_name_is_refused(recipe: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(command, "_train", fake([]))
    assert main(["sweep", str(recipe), "--grid", f"{COEF}=.1", "--seeds", "0"]) == 0
    assert main(["sweep", str(recipe), "--grid", f"{COEF}=.2", "--seeds", "0"]) == 2
    assert "give this one a name" in capsys.readouterr().err


def test_every_point_is_checked_before_one_starts(recipe: Path, monkeypatch, capsys) -> None:
    calls: list[str] = []
    monkeypatch.setattr(command, "_train", fake(calls))
    assert main(["sweep", str(recipe), "--grid", f"{COEF}=.1,-3", "--seeds", "0"]) == 2
    assert "coef" in capsys.readouterr().err and not calls


def test_a_dry_run_prints_commands_that_could_be_typed(recipe: Path, capsys) -> None:
    assert main(["sweep", str(recipe), "--grid", f"{COEF}=.1,.3", "--dry-run", "trainer.max_steps=4"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2 and all(f"train {recipe} trainer.max_steps=4 {COEF}=" in line for line in lines)
    assert not (recipe.parent / "runs").exists()


DAMAGED = [
    "",
    "{",
    "[]",
    "null",
    "5",
    "\x00" * 40,
    "[" * 100_000,
    '{"finished": 1e999}',
    '{"finished": "yes"}',
    "\ud800",
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_summary_is_that_of_no_finished_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert not command.finished(tmp_path)


def test_a_summary_that_is_a_folder_or_a_link_elsewhere_finishes_nothing(tmp_path: Path) -> None:
    (tmp_path / "run" / "summary.json").mkdir(parents=True)
    assert not command.finished(tmp_path / "run")
    (tmp_path / "other").mkdir()
    (tmp_path / "true.json").write_text('{"finished": true}')
    (tmp_path / "other" / "summary.json").symlink_to(tmp_path / "true.json")
    assert not command.finished(tmp_path / "other")


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_plan_of_a_sweep_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / command.PLAN).write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(RecipeError) as caught:
        command.claim(tmp_path, {"grid": []})
    assert str(caught.value).count("\n") == 0 and command.PLAN in str(caught.value)


def test_the_same_sweep_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    command.claim(tmp_path / "s", {"grid": ["a=1"]})
    command.claim(tmp_path / "s", {"grid": ["a=1"]})
    with pytest.raises(RecipeError, match="another grid"):
        command.claim(tmp_path / "s", {"grid": ["a=2"]})
