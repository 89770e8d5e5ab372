"""Words of the command line and of recipes reach a terminal as text: nothing in them moves the cursor or turns the line round."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from entropostat.__main__ import main
from entropostat.environment import FAULT_NOTE
from entropostat.faults import RunFault, SetupError
from entropostat.visible import ODD

PLAIN = "entropostat:quickstart/plain.yaml"
ESCAPES = {
    "escape": "\x1b[31mred\x1b]0;title\x07",
    "carriage return": "honest\rhidden",
    "backspace": "x\x08\x08\x7f",
    "C1": "\x9b31m\x85\x90",
    "turned round": "\u202egnp.exe\u2066\u200f",
    "line separator": "a\u2028b\ufeff",
}
PLACES = {
    "command": ["{}"],
    "command, spelt nearly": ["pl{}an"],
    "flag": ["plan", PLAIN, "--{}"],
    "recipe": ["plan", "{}.yaml"],
    "second recipe": ["plan", PLAIN, "{}.yaml"],
    "recipe of the package": ["plan", "entropostat:{}"],
    "key": ["plan", PLAIN, "trainer.x{}=1"],
    "value": ["plan", PLAIN, 'seed="{}"'],
    "value that is no YAML": ["plan", PLAIN, "seed=[{}"],
    "value that plan shows": ["plan", PLAIN, 'model={{path: "{}"}}'],
    "output folder": ["plan", PLAIN, 'output_dir="{}"'],
    "output folder of a sweep": ["sweep", PLAIN, 'output_dir="{}"', "--dry-run"],
    "output folder of a job": ["submit", PLAIN, 'output_dir="{}"', "slurm.gpus_per_node=1", "--dry-run"],
    "lint": ["train", PLAIN, 'objective.advantages=[edge: {{name: "{}"}}]'],
    "command that launch shows": ["launch", PLAIN, 'output_dir="{}"', "--dry-run"],
    "resume": ["launch", PLAIN, "--resume", "{}", "--dry-run"],
    "shape": ["plan", PLAIN, "--shape", "{}"],
    "bandwidth": ["plan", PLAIN, "--bandwidth", "{}"],
    "memory": ["plan", PLAIN, "--gpu-memory", '"{}"'],
    "grid": ["sweep", PLAIN, "--grid", "{}"],
    "grid's value": ["sweep", PLAIN, "--grid", 'seed="{}"'],
    "seeds": ["sweep", PLAIN, "--seeds", "{}"],
    "array": ["submit", PLAIN, "--array", "{}"],
    "dependency": ["submit", PLAIN, "slurm.gpus_per_node=1", "--dependency", "{}", "--dry-run"],
    "tasks": ["submit", PLAIN, "--tasks", "{}"],
    "job": ["status", "{}"],
    "run": ["compare", "{}"],
    "requirement": ["compare", ".", "--require", "{}"],
    "report": ["report", "{}"],
    "diagnosed run": ["diagnose", "{}"],
    "method": ["methods", "{}"],
    "dashboard": ["dashboard", "wandb", "{}.yaml", "--offline", "x"],
    "kind of dashboard": ["dashboard", "{}"],
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(shutil, "which", lambda name: None)
    return tmp_path


def said(words: list[str], capsys: Any) -> str:
    """What a terminal is sent."""
    capsys.readouterr()
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(sys.stdout, "isatty", lambda: True)
            main(words)
    except SystemExit as ended:  # argparse
        assert ended.code == 2
    printed = capsys.readouterr()
    return str(printed.out + printed.err)


@pytest.mark.parametrize("place", PLACES)
def test_a_word_of_the_command_line_is_shown_and_does_nothing(place: str, capsys: Any) -> None:
    for name, text in ESCAPES.items():
        printed = said([word.format(text) for word in PLACES[place]], capsys)
        assert printed and not ODD.search(printed.replace("\n", "")), (name, printed)


@pytest.mark.parametrize("name", ESCAPES)
def test_what_a_recipe_says_is_shown_and_does_nothing(name: str, here: Path, capsys: Any) -> None:
    text = json.dumps(ESCAPES[name])
    for line in (
        f"{text}: 1",
        f"seed: {text}",
        f"extends: {text}",
        f"trainer: {{{text}: 1}}",
        f"reward: [{{regex: {{pattern: {text}, name: {text}}}}}]",
        f"data: {{sources: {{{text}: {{chain: {{}}}}}}, curriculum: null}}",
    ):
        (here / "x.yaml").write_text(("" if line.startswith("extends") else f"extends: {PLAIN}\n") + line + "\n")
        printed = said(["plan", "x.yaml"], capsys)
        assert printed and not ODD.search(printed.replace("\n", "")), printed


@pytest.mark.parametrize("kind", [SetupError, RunFault])
def test_what_ends_a_run_is_shown_and_left_for_launch_without_its_control_characters(
    kind: type[Exception], here: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    note = here / "note"
    monkeypatch.setenv(FAULT_NOTE, str(note))

    def broken(*_: Any) -> int:
        raise kind("mine: " + "".join(ESCAPES.values()))

    monkeypatch.setitem(sys.modules, "entropostat.trainers.run", SimpleNamespace(run_recipe=broken))
    printed = said(["train", PLAIN], capsys)
    assert r"\x1b[31mred" in printed and not ODD.search(printed.replace("\n", ""))
    assert note.read_text() + "\n" == printed


def test_each_problem_of_a_recipe_is_one_line(capsys: Any) -> None:
    printed = said(["plan", PLAIN, 'seed="a\\nb"', 'name="c\\nd"'], capsys)
    assert len(printed.splitlines()) == 2
