"""The table of a run: what a process holds of it, how long its files stay, and what a killed run leaves."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path

import pytest
from support.linting import recipe

from entropostat.data.example import DataError
from entropostat.trainers import prompts
from entropostat.trainers.prompts import check_template, load_data

MIB = 2**20
ROWS, WORDS = 24_000, 2_000
"""Rows of a file, and characters of each: 46 MiB, of which nobody may hold half."""
MEASURE = """
import sys
from pathlib import Path
import datasets, numpy, pyarrow
from entropostat.data.curriculum import plan_order
from entropostat.data.dataset import Table
from entropostat.data.kept import Rules
from entropostat.data.prepare import prepare
from entropostat.data.registry import SOURCES
from entropostat.trainers.rollout.reserve import Reserve

def private():
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("RssAnon")).split()[1]) * 1024

role, folder = sys.argv[1], Path(sys.argv[2])
(folder / "table").mkdir(exist_ok=True)
pyarrow.set_memory_pool(pyarrow.system_memory_pool())
before = private()
if role == "writer":
    source = SOURCES.build("file", {"path": str(folder / "rows.jsonl")})
    table = prepare(folder / "table", {"a": source}, {}, Rules(0.1))
    pools = {name: rows.places for name, rows in table.train.items()}
    table.write_order(plan_order(pools, [], prompts=8, steps_per_generation=1, total_steps=4000).rows)
else:
    table = Table(folder / "table")
    ordered = table.ordered()
    reserve = Reserve(ordered, 0)
    assert len(reserve.draw(64, ["a"], lambda key: True)) == 64
    read = sum(len(ordered[i]["prompt"]) for i in range(0, len(ordered), 7))
    assert len(table.held_out["a"]) > 500 and read > 0
print(private() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="private memory is read off /proc")
def test_no_process_holds_the_rows(tmp_path: Path) -> None:
    with (tmp_path / "rows.jsonl").open("w") as file:
        for index in range(ROWS):
            file.write(json.dumps({"prompt": f"{index} ".ljust(WORDS, "x"), "answer": str(index)}) + "\n")
    for role in ("writer", "reader"):
        grown = subprocess.run(
            [sys.executable, "-c", MEASURE, role, str(tmp_path)], check=True, capture_output=True, text=True
        ).stdout
        assert int(grown) < ROWS * WORDS / 2, f"the {role} holds {int(grown) / MIB:.0f} MiB"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(prompts, "cache_root", lambda: tmp_path)
    return tmp_path / "prompts"


def test_the_files_stay_while_somebody_reads_them_and_go_then(home: Path) -> None:
    tests = load_data(recipe("data.sources.easy.chain.size=60")).tests
    gc.collect()
    assert len(list(home.iterdir())) == 1 and len(list(tests["easy"])) > 5
    del tests
    gc.collect()
    assert list(home.iterdir()) == []


def test_what_a_killed_run_left_goes_and_what_another_reads_stays(home: Path) -> None:
    other = load_data(recipe())
    (home / "left").mkdir()
    (home / "left" / prompts.OWNER).touch()
    (home / "begun").mkdir()  # by a process that has not locked it yet
    mine = load_data(recipe())
    assert {path.name for path in home.iterdir()} == {"begun", other.folder.name, mine.folder.name}


def test_a_cache_that_nobody_may_write_is_no_end_of_a_run(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home.parent.mkdir(exist_ok=True)
    home.touch()  # a file where the folder would be: the superuser may write into any folder
    monkeypatch.setattr(prompts.tempfile, "tempdir", str(home.parent))
    table = load_data(recipe("data.sources.easy.chain.size=60"))
    assert table.folder.parent == home.parent and len(table.train["easy"]) > 20


def test_data_that_cannot_be_read_leaves_nothing(home: Path) -> None:
    with pytest.raises(DataError, match="no file"):
        load_data(recipe("data.sources.easy={file: {path: gone.jsonl}}"))
    gc.collect()
    assert list(home.iterdir()) == []


def test_prompts_that_are_too_long_are_measured_by_the_models_own_tokenizer(home: Path) -> None:
    """Of one token a character: a chain of five numbers has ten, and its end."""
    short = load_data(
        recipe("data.max_prompt_tokens=4", "data.sources.hard={chain: {length: 2}}", "model.build.steps=1")
    )
    assert all(not dropped.reasons for dropped in short.dropped)
    with pytest.raises(DataError, match=r"hard: no prompt is left to train on.*longer than data.max_prompt_tokens"):
        load_data(recipe("data.max_prompt_tokens=4", "model.build.steps=1"))


def test_a_conversation_for_a_tokenizer_without_a_template_is_refused_before_the_run() -> None:
    class Plain:
        chat_template = None

    check_template(Plain, [{"prompt": "text"}])
    with pytest.raises(ValueError, match=r"data\.system: prompts are conversations"):
        check_template(Plain, [{"prompt": [{"role": "user", "content": "q"}]}])
