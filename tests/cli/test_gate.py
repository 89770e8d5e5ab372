"""What `plan` calls an error runs by no command, and leaves nothing behind: every lint of level ``error``, every command."""

from __future__ import annotations

import ast
import random
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.refused import OF_A_JOB, PLAIN, REFUSED, lay

import entropostat
from entropostat import gate
from entropostat.__main__ import main
from entropostat.cli import command, commands
from entropostat.cli.arguments import Parser
from entropostat.recipe import RecipeError, load, packages
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints import machine
from entropostat.slurm.job import problems

RUNS = {
    "train": (["train"], ["train", "--resume", "auto"]),
    "launch": (["launch"], ["launch", "--dry-run"]),
    "evaluate": (["evaluate"], ["evaluate", "--model", "adapter", "--out", "results.json"]),
    "submit": (["submit"], ["submit", "--dry-run"], ["submit", "--array", "0-3"]),
    "sweep": (["sweep", "--seeds", "0-1"], ["sweep", "--dry-run"], ["sweep", "--slurm", "--seeds", "0"]),
}
"""The commands that run a recipe, with flags."""
CALLS = [call for calls in RUNS.values() for call in calls]
JOBS = [*RUNS["submit"], RUNS["sweep"][2]]
SOUND = {
    "as it is": (),
    "warning": ("sampler.top_p=.9",),
    "note": ("sampler.temperature=.8",),
    "warning of another kind": ("model.dropout=keep",),
    "ppo": ("trainer.kind=ppo", "objective.advantages=[gae: {}]"),
    "fsdp, on a machine without GPUs": ("launch={strategy: fsdp2, num_processes: 2}", "slurm.gpus_per_node=2"),
}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a run in it, on a machine without GPUs, and a process that may start no other and import no trainer."""

    def started(*args: Any, **_: Any) -> None:
        raise AssertionError(f"started {args}")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(packages, "find_spec", lambda name: name)  # as if all were installed
    monkeypatch.setattr(subprocess, "Popen", started)
    for heavy in ("run", "alone"):
        monkeypatch.setitem(sys.modules, f"entropostat.trainers.{heavy}", None)  # whose import would bring torch
    lay(tmp_path)
    # The recipe lies where its paths begin.
    (tmp_path / "recipe.yaml").write_text(f"extends: {PLAIN}\nname: mine\noutput_dir: runs\n")
    (tmp_path / "runs" / "mine" / "checkpoint-2").mkdir(parents=True)
    (tmp_path / "runs" / "mine" / "metrics.jsonl").write_text('{"step": 2}\n')
    return tmp_path


def tree(folder: Path) -> dict[str, bytes | None]:
    return {str(path): path.read_bytes() if path.is_file() else None for path in sorted(folder.rglob("*"))}


@pytest.fixture
def call(here: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    def called(words: list[str], overrides: tuple[str, ...]) -> tuple[int, str, str]:
        capsys.readouterr()
        code = main([words[0], "recipe.yaml", *overrides, *words[1:]])
        said = capsys.readouterr()
        return code, said.out, said.err

    return called


def planned(call: Callable[..., tuple[int, str, str]], overrides: tuple[str, ...]) -> tuple[int, list[str]]:
    """(exit status, lines of errors) of `plan`."""
    code, out, _ = call(["plan"], overrides)
    return code, [line for line in out.splitlines() if line.startswith("error: ")]


def test_every_command_that_takes_a_recipe_is_tried():
    taking = set()
    for name in commands():
        parser = Parser()
        command(name).add(parser)
        if parser.get_default("overrides") is not None:
            taking.add(name)
    assert {*RUNS, "plan", "data"} == taking


@pytest.mark.parametrize("case", REFUSED)
def test_what_plan_calls_an_error_runs_by_no_command(case: str, here: Path, call: Callable[..., Any]):
    overrides = REFUSED[case]
    code, wanted = planned(call, overrides)
    assert code == 1 and wanted
    before = tree(here)
    for words in CALLS:
        code, out, err = call(words, overrides)
        assert (code, out) == (2, ""), (words, err)
        assert all(line in err for line in wanted), (words, err)
        assert tree(here) == before, words


@pytest.mark.parametrize("case", OF_A_JOB)
def test_what_only_a_job_has_wrong_is_not_sent(case: str, here: Path, call: Callable[..., Any]):
    assert planned(call, OF_A_JOB[case]) == (0, [])
    before = tree(here)
    for words in JOBS:
        code, out, err = call(words, OF_A_JOB[case])
        assert (code, out) == (2, "") and "error: " in err, (words, err)
        assert tree(here) == before, words


@pytest.mark.parametrize("case", SOUND)
def test_what_plan_calls_no_error_is_not_refused_where_it_can_run(
    case: str, here: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    trained: list[str] = []
    train = lambda recipe, *_: trained.append(recipe.name) or 0
    monkeypatch.setitem(sys.modules, "entropostat.trainers.run", SimpleNamespace(run_recipe=train))
    monkeypatch.setattr(shutil, "which", lambda name: None)
    assert planned(call, SOUND[case]) == (0, [])
    for words in CALLS[:-1]:
        if words[0] == "train" or "--dry-run" in words:
            without_gpus = words[0] == "launch" and case.startswith("fsdp")
            assert call(words, SOUND[case])[0] == (2 if without_gpus else 0), words
    assert trained == ["mine"] * 2


def test_plan_fails_exactly_where_the_gate_refuses(
    here: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    """Over pairs of settings that are wrong, doubtful or right by themselves."""
    monkeypatch.setattr(machine, "visible_gpus", lambda: 1)  # without one, weights of 4 bits are right and cannot run
    draw, seen = random.Random(0), set()
    pool = [*REFUSED.values(), *SOUND.values(), *OF_A_JOB.values()]
    for _ in range(120):
        overrides = tuple(word for words in draw.sample(pool, 2) for word in words)
        code, lines = planned(call, overrides)
        try:
            gate.runnable("recipe.yaml", overrides)
            status, said = 0, []
        except gate.Refused as error:
            status, said = 1, str(error).splitlines()
        except RecipeError:
            status, said = 2, []
        assert (code, lines) == (status, said), overrides
        seen.add(code)
    assert {0, 1} <= seen


def test_what_a_machine_lacks_is_a_note_and_stops_only_what_runs_on_it(
    here: Path, call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(packages, "find_spec", lambda name: None)
    monkeypatch.setattr(shutil, "which", lambda name: None)
    wanted = "tracking.trackio: needs the package trackio; pip install 'entropostat[trackio]'"
    given = ("tracking.trackio={project: a}", "slurm.gpus_per_node=1")
    assert f"note: {wanted}" in call(["plan"], given)[1]
    for words in (*RUNS["train"], *RUNS["launch"], *RUNS["sweep"][:2]):
        code, _, err = call(words, given)
        assert code == 2 and f"error: {wanted}" in err, words
    assert call(["submit", "--dry-run"], given)[0] == 0


def test_every_point_of_a_grid_is_looked_at_before_the_first_runs(here: Path, call: Callable[..., Any]):
    before = tree(here)
    for more in ([], ["--slurm"]):
        code, _, err = call(["sweep", "--grid", "trainer.num_generations=8,7,4,3", *more], ())
        assert code == 2 and tree(here) == before
        assert {line.partition(": ")[0] for line in err.splitlines()} == {
            "mine-num_generations=7",
            "mine-num_generations=3",
        }


def test_a_job_is_judged_by_its_own_processes_and_not_by_those_of_the_machine_that_submits(
    call: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    given = (
        "trainer={per_device_train_batch_size: 2, steps_per_generation: 1, num_generations: 8}",
        "launch.strategy=ddp",
        "slurm.gpus_per_node=4",
    )
    assert planned(call, given)[0] == 1, "two sequences on the one process here hold no group of eight"
    for words in (["submit", "--dry-run"], ["sweep", "--slurm", "--dry-run", "--seeds", "0"]):
        assert call(words, given)[0] == 0, words


def test_a_grid_may_mend_the_recipe_that_it_starts_from(here: Path, call: Callable[..., Any]):
    words = ("data.held_out=0",)
    assert planned(call, words)[0] == 1
    assert call(["sweep", "--grid", "data.held_out=.1,.2", "--dry-run"], words)[0] == 0


def test_several_recipes_are_all_looked_at_before_the_first_trains(here: Path, capsys: Any):
    (here / "bad.yaml").write_text("extends: recipe.yaml\nname: bad\ndata: {held_out: 0}\n")
    before = tree(here)
    assert main(["train", "recipe.yaml", "bad.yaml"]) == 2
    assert "error: data.held_out: 0 leaves no prompts" in capsys.readouterr().err and tree(here) == before


# ---------------------------------------------------------------------------------------------- no lint without a case

PACKAGE = Path(entropostat.__file__).parent


def error_sites() -> Iterator[tuple[str, int, int]]:
    """(file, first line, last line) of every ``Lint("error", ...)`` of the package."""
    folders = {PACKAGE, *(folder.resolve() for folder in PACKAGE.iterdir() if folder.is_dir())}  # some are links
    for file in sorted({file.resolve() for folder in folders for file in folder.rglob("*.py")}):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Lint":
                given = [*node.args[:1], *(word.value for word in node.keywords if word.arg == "level")]
                if any("error" in ast.unparse(level) for level in given):
                    yield str(file), node.lineno, node.end_lineno or node.lineno


def test_every_lint_of_level_error_has_a_case(here: Path, monkeypatch: pytest.MonkeyPatch):
    raised: set[tuple[str, int]] = set()

    class Noted(Lint):
        def __init__(self, *args: Any, **given: Any) -> None:
            frame = sys._getframe(1)
            raised.add((str(Path(frame.f_code.co_filename).resolve()), frame.f_lineno))
            super().__init__(*args, **given)

    for module in [m for name, m in sys.modules.items() if name.startswith("entropostat.") and hasattr(m, "Lint")]:
        monkeypatch.setattr(module, "Lint", Noted)
    for overrides in REFUSED.values():
        gate.findings(load("recipe.yaml", overrides))
    for overrides in OF_A_JOB.values():
        list(problems(load("recipe.yaml", overrides)))
    sites = list(error_sites())
    assert len(sites) > 40
    untried = [site for site in sites if not any(site[0] == f and site[1] <= n <= site[2] for f, n in raised)]
    assert not untried, "add a case to tests/support/refused.py"
