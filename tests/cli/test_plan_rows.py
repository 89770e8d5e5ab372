"""`plan` looks at the rows that a recipe names: in a moment, without torch; and a job finds them from its own folder."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.pace import pace
from support.row_files import written

from entropostat.__main__ import main
from entropostat.data.registry import SOURCES
from entropostat.recipe import RecipeError, load
from entropostat.slurm.job import settled

GOOD = [{"question": f"{i} + 1?", "answer": str(i + 1)} for i in range(50)]
RECIPE = """\
extends: entropostat:quickstart/plain.yaml
data:
  sources: {{own: {{{source}}}}}
  curriculum: null
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, GOOD)))
    return tmp_path


@pytest.fixture
def planned(here, capsys):
    def plan(source):
        (here / "x.yaml").write_text(RECIPE.format(source=source))
        code = main(["plan", "x.yaml"])
        said = capsys.readouterr()
        return code, [line for line in said.out.splitlines() if line.startswith("error")]

    return plan


FOUND = "file: {path: rows.jsonl, prompt: question}"


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("file: {path: rows.jsnl, prompt: question}", r"no file .*rows.jsnl, did you mean 'rows.jsonl'\?; set path"),
        ("file: {path: rows.jsonl}", "rows.jsonl, line 1: unknown column 'prompt', did you mean 'question'"),
        (
            "file: {path: rows.jsonl, prompt: question, answer: truth}",
            "unknown column 'truth'; there are: question, answer",
        ),
        ("file: {path: rows.jsonl, template: 'Q: {qestion}'}", "did you mean 'question'"),
        ("file: {path: rows.jsonl, template: 'Q: {}'}", "names no column"),
        ("file: {path: rows.jsonl, prompt: question, answer_regex: '('}", "is not a regular expression"),
        ("file: {path: rows.jsonl, prompt: question, meta: [level]}", "unknown column 'level'"),
        ("file: {path: ['rows.jsonl', 'empty.jsonl'], prompt: question}", "empty.jsonl holds no rows"),
        ("file: {path: rows.bin, prompt: question}", "tells no format of rows"),
        ("hub: {path: rows.jsonl}", "is a file; use file: {path: ...}"),
        ("hub: {path: ./gone}", "no folder .*gone"),
        ("hub: {path: saved}", "unknown column 'prompt', did you mean 'question'"),
        (
            "hub: {path: parts, split: 'train[:9]'}",
            "train-00000.jsonl, line 1: unknown column 'prompt', did you mean 'question'",
        ),
        ("hub: {path: dict, split: tset}", "unknown split 'tset', did you mean 'test'"),
    ],
)
def test_rows_that_would_stop_a_run_are_told_by_plan(source, said, here, planned):
    import datasets

    (here / "empty.jsonl").write_text("\n")
    (here / "rows.bin").write_text("x")
    (here / "parts" / "data").mkdir(parents=True)
    (here / "parts" / "data" / "train-00000.jsonl").write_text((here / "rows.jsonl").read_text())
    if "saved" in source or "dict" in source:
        table = datasets.Dataset.from_list(GOOD)
        table.save_to_disk(str(here / "saved"))
        datasets.DatasetDict({"train": table, "test": table}).save_to_disk(str(here / "dict"))
    code, errors = planned(source)
    assert code == 1 and len(errors) == 1
    assert re.search(said, errors[0]), errors
    assert errors[0].startswith(f"error: data.sources.own.{source.partition(':')[0]}: ")


def test_sound_rows_of_every_format_are_planned(here, planned):
    assert planned(FOUND) == (0, [])
    written(here, GOOD)
    assert planned("file: {path: 'rows.*', prompt: question}") == (0, [])
    assert planned("hub: {path: openai/gsm8k, name: main, prompt: question}") == (0, [])


@pytest.mark.parametrize("kind", ["jsonl", "json", "csv", "parquet", "arrow"])
def test_a_format_is_no_source(kind, here):
    (here / "x.yaml").write_text(RECIPE.format(source=f"{kind}: {{path: rows.jsonl}}"))
    with pytest.raises(RecipeError, match=rf"x.yaml:3: .*unknown source '{kind}'; use file: {{path: ...}}"):
        load("x.yaml")


def test_plan_takes_a_moment_however_many_rows_there_are_and_imports_no_torch(here):
    rows = here / "many.jsonl"
    with rows.open("w") as stream:
        for _ in range(400):
            stream.write((json.dumps({"question": "a" * 900, "answer": "b"}) + "\n") * 400)
    written(here, GOOD)
    (here / "x.yaml").write_text(RECIPE.format(source="file: {path: ['many.jsonl', 'rows.*'], prompt: question}"))
    code = (
        "import sys, time\n"
        "from entropostat.data.registry import SOURCES\n"
        "source = SOURCES.build('file', {'path': ['many.jsonl', 'rows.*'], 'prompt': 'question'})\n"
        "begun = time.process_time(); found = list(source.check()); print(time.process_time() - begun, found)\n"
        "print({'torch', 'datasets', 'transformers', 'pandas'} & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=here)
    seconds, found = done.stdout.splitlines()[0].split(" ", 1)
    assert found == "[]" and float(seconds) < pace()
    assert done.stdout.splitlines()[1] == "set()"


@pytest.mark.parametrize("given", ["rows.jsonl", "row*.jsonl", ["rows.jsonl", "r*.jsonl"]])
def test_rows_beside_the_recipe_are_found_from_any_folder(given, here, monkeypatch, tmp_path_factory):
    """Named in the file, or on the command line, of a run or of the job that runs its resolved recipe elsewhere."""
    (here / "plain.yaml").write_text(RECIPE.format(source=FOUND))
    (here / "x.yaml").write_text(RECIPE.format(source=f"file: {{path: {json.dumps(given)}, prompt: question}}"))
    here = here.rename(tmp_path_factory.mktemp("moved") / "[own] rows")
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    override = f"data.sources={json.dumps({'own': {'file': {'path': given}}})}"
    for words in ([str(here / "x.yaml")], [str(here / "plain.yaml"), override]):
        recipe = load(words[0], words[1:])
        recipe = load(words[0], [*words[1:], *settled(recipe)])
        Path("resolved.yaml").write_text(recipe.dump())
        again = load("resolved.yaml")
        term = again.sources["own"]
        assert len(SOURCES.build(term.kind, term.options).load(again.folder)) == 50


def test_submit_refuses_rows_that_are_not_there_and_a_job_gets_absolute_names(here, capsys, monkeypatch):
    (here / "deep").mkdir()
    (here / "deep" / "own.jsonl").write_text((here / "rows.jsonl").read_text())
    (here / "deep" / "x.yaml").write_text(RECIPE.format(source=FOUND))
    words = ["deep/x.yaml", "slurm.gpus_per_node=0"]
    assert main(["submit", *words, "data.sources.own.file.path=gone.jsonl", "--dry-run"]) == 2
    assert "no file" in capsys.readouterr().err
    monkeypatch.setenv("PATH", "")
    assert main(["submit", *words, "data.sources.own.file.path=own.jsonl", "--dry-run"]) == 0
    assert f"path: {here / 'deep' / 'own.jsonl'}" in capsys.readouterr().out


def test_a_source_of_ones_own_need_not_check_anything():
    assert list(SOURCES.build("chain", {}).check()) == []
