"""An array whose tasks differ by lines of a file: read, checked line by line, and frozen into the script."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
from support.commands import said

from entropostat.recipe import load
from entropostat.recipe.errors import RecipeError
from entropostat.slurm.tasks import read, spread

HOSTILE = 'it\'s "a" $(touch OWNED) `touch OWNED` \\ ; # %j *'
RECIPE = (
    "extends: entropostat:quickstart/pid-kl.yaml\n"
    "name: tiny\n"
    "launch: {strategy: ddp, num_machines: 2}\n"
    "slurm: {nodes: 2, gpus_per_node: 0, python: python3, array: 0-99}\n"
)


def dry(capsys: pytest.CaptureFixture[str], text: str, *words: str) -> tuple[int, str, str]:
    Path("tasks.txt").write_text(text)
    return said(capsys, ["submit", "recipe.yaml", "--dry-run", "--tasks", "tasks.txt", *words])


def started(script: str, task: int) -> list[str]:
    """The words after the recipe's file with which the script of a task calls the training, by a real bash."""
    stubs = 'scontrol() { [ "$2" = hostnames ] && echo n1 || echo "X=1 NodeAddr=10.0.0.7 Y=2"; }\n'
    stubs += 'srun() { printf "%s\\0" "$@" >words; }\nSLURM_JOB_ID=13; SLURM_JOB_NODELIST=n1\n'
    stubs += f"SLURM_ARRAY_JOB_ID=12; SLURM_ARRAY_TASK_ID={task}\n"
    Path("runs/slurm").mkdir(parents=True, exist_ok=True)
    subprocess.run(["bash"], input=stubs + script, text=True, check=True, timeout=30, capture_output=True)
    words = Path("words").read_text().split("\0")[:-1]
    return words[words.index("launch") + 2 :]


def test_a_task_runs_with_the_words_of_its_line(here: Path, capsys):
    lines = [
        "objective.penalties.kl_ref.coef=.1 seed=3",
        "",
        "objective.penalties.+kl_cov='{fraction: 0.1}'",
        """tracking.wandb="{project: 'it''s', tags: ['a b', \\"$(touch OWNED)\\", '`touch OWNED`']}" """,
    ]
    code, script, err = dry(capsys, "\n".join(lines) + "\n")
    assert code == 0, err
    assert '#SBATCH "--array=0-3"\n' in script and "seed=$SLURM" not in script
    assert [started(script, task)[0] for task in range(4)] == [f"name='tiny-12_{task}'" for task in range(4)]
    assert [started(script, task)[1:] for task in range(3)] == [
        ["objective.penalties.kl_ref.coef=.1", "seed=3"],
        [],
        ["objective.penalties.+kl_cov={fraction: 0.1}"],
    ]
    # What a task trains is what its line meant beside the recipe.
    (frozen,) = re.findall(r"<<'END_OF_RECIPE'\n(.*)^END_OF_RECIPE$", script, re.DOTALL | re.MULTILINE)
    (here / "frozen.yaml").write_text(frozen)
    trained = load(here / "frozen.yaml", started(script, 3))
    assert trained.tracking.wandb is not None and trained.tracking.wandb.project == "it's"
    assert trained.tracking.wandb.tags == ["a b", "$(touch OWNED)", "`touch OWNED`"]
    assert not list(here.rglob("OWNED"))


def test_values_of_any_kind_stay_values(here: Path, capsys):
    """A YAML text in double quotes, so that every letter survives YAML as well."""
    value = HOSTILE.replace("\\", "\\\\").replace('"', '\\"')
    shell = f'tracking.wandb.project="{value}"'.replace("'", "'\\''")
    code, script, err = dry(capsys, f"'{shell}'\n")
    assert code == 0, err
    (word,) = started(script, 0)[1:]
    assert load("recipe.yaml", [word]).tracking.wandb.project == HOSTILE
    assert not list(here.rglob("OWNED"))


def test_what_a_line_leaves_open_is_settled_where_it_is_submitted(here: Path, capsys):
    (here / "judge").mkdir()
    words = "reward='[{model: {path: judge, name: liked}}]'"
    code, script, err = dry(capsys, f"{words}\nseed=1\n")
    assert code == 0, err
    assert f'reward.liked.path="{here / "judge"}"' in started(script, 0)
    assert started(script, 1)[1:] == ["seed=1"]


def test_a_part_of_the_lines_can_be_asked_for(here: Path, capsys):
    code, script, _ = dry(capsys, "seed=1\nseed=2\nseed=3\n", "--array", "0,2%1")
    assert code == 0 and '#SBATCH "--array=0,2%1"\n' in script
    assert started(script, 2)[1:] == ["seed=3"]
    assert spread(None, 5) == "0-4" and spread("3%9", 4) == "3%9"


@pytest.mark.parametrize(
    ("text", "words", "message"),
    [
        ("seed=1\nseed\n", [], "tasks.txt:2: 'seed' is not an override; write key.subkey=value"),
        ("seed='1\n", [], "tasks.txt:1: no closing quotation; close the quotes"),
        ("seed=1\nsedd=1\n", [], "tasks.txt:2: sedd: unknown key 'sedd' (value 1); did you mean 'seed'?"),
        ("seed={a\n", [], "tasks.txt:1: not valid YAML"),
        ("name=a\n", [], "tasks.txt:1: name: is the same for all tasks; set it in the recipe or on the command line"),
        ("seed=1\nslurm.time=1\n", [], "tasks.txt:2: slurm.time: is the same for all tasks"),
        ("output_dir=a\n", [], "tasks.txt:1: output_dir: is the same for all tasks"),
        ("seed=1\nseed=2\n", ["--array", "1-2"], "--array: '1-2': the file of --tasks has lines for the tasks 0 to 1"),
        ("", [], "tasks.txt: holds no line; write one line of key=value for each run"),
    ],
)
def test_a_mistake_names_its_line(here: Path, capsys, text, words, message):
    code, out, err = dry(capsys, text, *words)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


def test_what_a_task_cannot_run_is_said_before_it_queues(here: Path, capsys):
    code, out, err = dry(capsys, "seed=1\ntrainer.num_generations=7\nlaunch.strategy=fsdp2\n")
    assert (code, out) == (2, "") and "error: tasks.txt:2: trainer.num_generations: " in err
    assert "error: tasks.txt:3: launch.strategy: fsdp2 needs GPUs" in err and "tasks.txt:1" not in err


def test_a_file_that_cannot_be_read_is_named(here: Path):
    with pytest.raises(RecipeError, match=r"--tasks: gone.txt: No such file or directory; write one line"):
        read("gone.txt")
    (here / "bytes").write_bytes(b"\xff\xfe")
    with pytest.raises(RecipeError, match="--tasks: bytes: is not text"):
        read("bytes")
