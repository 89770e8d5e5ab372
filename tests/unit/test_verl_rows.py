"""A recipe's prompts as verl reads them, in the order of training; its verifiers as verl calls them."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from entropostat.__main__ import main
from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.prompts import plan_prompts
from entropostat.trainers.run import training_config
from entropostat.verl.prepared import TESTS, TRAIN
from entropostat.verl.reward import score
from entropostat.verl.rows import ordered, row, write

PLAIN = str(RECIPES / "quickstart" / "plain.yaml")
POOLS = {"easy": range(700), "hard": range(700, 4000)}


@pytest.mark.parametrize(
    "changes",
    [
        (),
        ("trainer.max_steps=90",),
        ("data.curriculum=null", "data.weights={easy: 1, hard: 3}", "trainer.max_steps=40", "seed=3"),
        ("data.curriculum=null", "trainer.num_train_epochs=2.5", "trainer.num_iterations=2"),
    ],
    ids=("curriculum", "cut off", "mixture", "epochs"),
)
def test_the_order_is_the_trainers(changes: tuple[str, ...], tmp_path: Path) -> None:
    recipe = load(PLAIN, (*changes, "trainer.use_cpu=true"))
    here, there = ordered(recipe, POOLS), plan_prompts(recipe, training_config(recipe, tmp_path), POOLS)
    assert list(here.rows) == list(there.rows) and (here.steps, here.edges) == (there.steps, there.edges)


def test_rows_have_verls_columns_in_that_order(tmp_path: Path) -> None:
    recipe = load(
        PLAIN, ("trainer.max_steps=8", "data.curriculum=[{source: hard, steps: 4}, {source: easy, steps: 4}]")
    )
    counts = write(recipe, tmp_path, lambda prompts: [])
    rows = pq.read_table(tmp_path / TRAIN).to_pylist()
    # 8 steps are 2 generations of 32 prompts: the first of hard ones, chains of five numbers.
    assert len(rows) == counts[tmp_path / TRAIN] == 64
    assert [each["data_source"] for each in rows] == ["hard"] * 32 + ["easy"] * 32
    for index, written in enumerate(rows):
        (message,) = written["prompt"]
        left, _, _ = message["content"].partition("\n")
        assert message["role"] == "user" and left.count("+") + left.count("*") + left.count("-") >= 1
        assert written["reward_model"]["style"] == "rule" and written["reward_model"]["ground_truth"].isdigit()
        assert written["extra_info"]["index"] == index and json.loads(written["extra_info"]["meta"])["modulus"] == 10
    tests = pq.read_table(tmp_path / TESTS).to_pylist()
    assert Counter(each["data_source"] for each in tests) == {"easy": counts[tmp_path / TESTS] - 96, "hard": 96}
    asked = {each["prompt"][0]["content"] for each in rows}
    assert not asked & {each["prompt"][0]["content"] for each in tests}


def test_the_command_writes_them_and_a_system_prompt_goes_first(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "rows"
    assert main(["data", PLAIN, "data.system=Add.", "trainer.max_steps=4", "--verl", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)[str(out / TRAIN)] == 32
    prompt = pq.read_table(out / TRAIN).to_pylist()[0]["prompt"]
    assert prompt[0] == {"role": "system", "content": "Add."} and prompt[1]["role"] == "user"
    assert not [file for file in out.iterdir() if file.suffix != ".parquet"]


def test_a_completion_has_the_weighted_sum_of_those_that_judge_its_source() -> None:
    verifiers = [
        {"exact_match": {"weight": 2.0, "weights": {"hard": 3.0}}},
        {"exact_match": {"name": "again", "sources": ["easy"], "weight": 0.5}},
    ]
    right, wrong = (
        lambda source, text=text: score(source, text, "4", {"meta": "{}"}, verifiers=verifiers) for text in "45"
    )
    assert right("easy") == {"score": 2.5, "acc": 1.0} and right("hard") == {"score": 3.0, "acc": 1.0}
    assert right("set") == {"score": 2.0, "acc": 1.0} and wrong("easy") == {"score": 0.0, "acc": 0.0}


def test_what_verl_hands_on_of_a_row_is_enough_for_a_verifier_that_reads_the_prompt() -> None:
    asked = Example("8+1\n", "9", {"modulus": 10}, "chain/1", "easy")
    written = row(asked, 0, "train")
    told = {**written["extra_info"], "num_turns": None, "rollout_reward_scores": {}}
    truth = written["reward_model"]["ground_truth"]
    right, wrong = (score("easy", f":8+1={text}", truth, told, verifiers=[{"chain": {}}], more=1) for text in "98")
    assert right == {"score": 1.0, "acc": 1.0} and wrong == {"score": 0.0, "acc": 0.0}


def test_code_of_the_users_is_called_with_leave_alone() -> None:
    with pytest.raises(PermissionError, match="your own code"):
        score("easy", "9", "9", verifiers=[{"function": {"path": "json:loads"}}])
