"""A batch job imports the user's rewards as they were when it was submitted. Needs no cluster: a real bash runs the script."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest
from support.commands import said

from entropostat.recipe import load
from entropostat.recipe.resume import changes, fingerprint
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.slurm.own_code import MOST, own_code
from entropostat.slurm.render import Job, render

RECIPE = (
    "extends: entropostat:quickstart/plain.yaml\n"
    "name: tiny\n"
    "output_dir: it's runs\n"
    "launch: {strategy: ddp, num_machines: 2}\n"
    "slurm: {nodes: 2, gpus_per_node: 0, python: python3}\n"
    "reward: [function: {path: 'mine:score'}]\n"
)
SCORE = "from beside import value\n\ndef score(completion, example):\n    return value\n"


@pytest.fixture
def code(here: Path) -> Path:
    (here / "mine.py").write_text(SCORE)
    (here / "beside.py").write_text("value = 0.25\n")
    return here


def submitted(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[str, str]:
    """The script, and what is said beside it."""
    code, script, err = said(capsys, ["submit", "recipe.yaml", "--dry-run", "--allow-code", *words])
    assert code == 0, err
    return script, err


def started(script: str, task: int = 0) -> list[str]:
    """The words from the recipe's file on, with which the script calls the training."""
    stubs = 'scontrol() { [ "$2" = hostnames ] && echo n1 || echo "X=1 NodeAddr=10.0.0.7 Y=2"; }\n'
    stubs += 'srun() { printf "%s\\0" "$@" >words; }\nSLURM_JOB_ID=12; SLURM_JOB_NODELIST=n1\n'
    stubs += f"SLURM_ARRAY_JOB_ID=12; SLURM_ARRAY_TASK_ID={task}\n"
    Path("it's runs/slurm").mkdir(parents=True, exist_ok=True)
    subprocess.run(["bash"], input=stubs + script, text=True, check=True, timeout=30, capture_output=True)
    words = Path("words").read_text().split("\0")[:-1]
    return words[words.index("launch") + 2 :]


def scored(file: str, *overrides: str) -> list[float | None]:
    """By the verifier of the recipe that a job trains."""
    (term,) = load(file, overrides).reward
    scorer = Scorer({term.name: VERIFIERS.build(term.kind, term.options)}, allow_code=True, workers=1)
    scorer.check()
    try:
        from entropostat.data.example import Example

        return [outcome.score for outcome in scorer.score(term.name, ["x"], [Example("p")])]
    finally:
        scorer.close()


def test_an_edit_after_the_submission_changes_nothing_and_neither_does_a_restart(code: Path, capsys):
    script, err = submitted(capsys)
    assert "code       reward.function: beside.py, mine.py, as now" in err
    (code / "beside.py").write_text("value = 0.75\n")
    first = started(script)
    (code / "mine.py").unlink()
    again = started("SLURM_RESTART_COUNT=1\n" + script)
    assert again == [*first, "--resume", "auto"]
    assert scored(first[0], *first[1:]) == [0.25]
    assert (code / "it's runs/slurm/tiny-12.code/function/beside.py").read_text() == "value = 0.25\n"


def test_where_the_module_lies_is_no_other_recipe(code: Path, capsys):
    file, *words = started(submitted(capsys)[0])
    job, mine = load(file, words), load("recipe.yaml", ["name='tiny-12'", "launch.num_processes=2"])
    assert job.reward[0].options["folder"] != mine.reward[0].options["folder"]
    assert changes(mine, job, 5).refused == () and fingerprint(mine, 5) == fingerprint(job, 5)
    other = load(file, [*words, "reward.function.path=mine:other"])
    assert changes(mine, other, 5).refused and fingerprint(mine, 5) != fingerprint(other, 5)


def test_a_package_travels_whole_and_imports_are_followed(code: Path):
    (code / "pack" / "__pycache__").mkdir(parents=True)
    for name in ("__init__.py", "words.txt", "__pycache__/a.pyc", ".secret"):
        (code / "pack" / name).write_text("")
    (code / "pack" / "inner.py").write_text("import os, far\nfrom . import nothing\n")
    (code / "far.py").write_text("import beside, entropostat, no_such_thing\n")
    (code / "entropostat.py").write_text("")
    recipe = load("recipe.yaml", ["reward.function.path=pack.inner:score"])
    assert set(own_code(recipe)["function"].files) == {
        "pack/__init__.py",
        "pack/words.txt",
        "pack/inner.py",
        "far.py",
        "beside.py",
    }


LEFT = {
    "its own place": ("import beside\nWORDS = open(__file__)\n", "mine.py looks for what lies beside it (__file__)"),
    "a late import": ("import importlib\nimportlib.import_module('a')\n", "mine.py imports by a name that only a run knows"),
    "the same by name": ("from importlib import import_module as i\n", "mine.py imports by a name that only a run knows"),
    "one that is large": (f"x = '{'x' * MOST}'\n", "mine.py and what it imports are more than 1 MiB"),
}  # fmt: skip


@pytest.mark.parametrize("kind", LEFT)
def test_what_cannot_be_copied_is_said_and_left_where_it_is(code: Path, capsys, kind):
    text, why = LEFT[kind]
    (code / "mine.py").write_text(text)
    script, err = submitted(capsys)
    assert f"code       reward.function: not copied, {why}" in err and "an edit before the job ends changes it" in err
    assert "END_OF_CODE" not in script and ".code" not in script


def test_what_is_installed_is_said_too(here: Path, capsys):
    script, err = submitted(capsys, "reward.function.path=json:loads")
    assert "reward.function: not copied, json is an installed package" in err and ".code" not in script
    assert "code  " not in submitted(capsys, "reward=[chain: {}]")[1]


def test_a_file_of_any_kind_arrives_as_it_was(tmp_path: Path):
    content, path = bytes(range(256)) + b"\nEND_OF_CODE\n$(touch OWNED)", 'pack/it\'s "a" $(touch OWNED) \\.py'
    job = Job(
        name="tiny", recipe="seed: 0\n", command=["python3", "-m", "entropostat", "launch"], output_dir="/o",
        folder=str(tmp_path / "it's"), cwd="/c", server=[], server_gpus=0, dependency=None, tasks=[],
        code={"a": {path: content}, "b": {"x.py": b""}},
    )  # fmt: skip
    (tmp_path / "it's").mkdir()
    from entropostat.recipe.machine_blocks import Slurm

    stubs = 'scontrol() { [ "$2" = hostnames ] && echo n1 || echo "X=1 NodeAddr=10.0.0.7 Y=2"; }\n'
    stubs += 'srun() { printf "%s\\n" "$@" >words; }\nSLURM_JOB_ID=12; SLURM_JOB_NODELIST=n1\n'
    script = stubs + render(Slurm(gpus_per_node=0), job)
    subprocess.run(["bash"], input=script, cwd=tmp_path, text=True, check=True, timeout=30, capture_output=True)
    folder = tmp_path / "it's" / "tiny-12.code"
    assert (folder / "a" / path).read_bytes() == content and (folder / "b" / "x.py").read_bytes() == b""
    quoted = str(folder).replace("'", "''")
    assert f"reward.a.folder='{quoted}/a'\nreward.b.folder='{quoted}/b'\n" in (tmp_path / "words").read_text()
    assert not list(tmp_path.rglob("OWNED"))


def test_the_tasks_of_an_array_share_the_code_of_all(code: Path, capsys):
    (code / "other.py").write_text("def score(completion, example):\n    return 0.5\n")
    (code / "tasks.txt").write_text("seed=1\nreward.function.path=other:score\n")
    script, err = submitted(capsys, "--tasks", "tasks.txt")
    assert "reward.function: beside.py, mine.py, other.py, as now" in err
    (code / "other.py").write_text("def score(completion, example):\n    return 0.75\n")
    assert [scored(*started(script, task)) for task in (0, 1)] == [[0.25], [0.5]]


def test_a_task_that_looks_elsewhere_leaves_all_of_them_where_they_are(code: Path, capsys):
    (code / "deeper").mkdir()
    (code / "deeper" / "mine.py").write_text("def score(completion, example):\n    return 0.5\n")
    (code / "tasks.txt").write_text(f"seed=1\nreward.function.folder={code / 'deeper'}\n")
    script, err = submitted(capsys, "--tasks", "tasks.txt")
    assert "reward.function: not copied, a task looks for it in another folder" in err
    assert re.search(r"reward\.function\.folder='", script) is None
    assert [scored(*started(script, task)) for task in (0, 1)] == [[0.25], [0.5]]


def test_nothing_of_it_is_run(code: Path):
    (code / "mine.py").write_text("open('OWNED', 'w')\nraise SystemExit\n")
    assert "mine.py" in own_code(load("recipe.yaml"))["function"].files and not os.path.exists("OWNED")
