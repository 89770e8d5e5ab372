"""400 rows of GSM8K, from a file to a result: trained on and evaluated, in every form that a table of rows can have."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support import standins

from entropostat.__main__ import main
from entropostat.recipe import Recipe, load
from entropostat.reward.registry import VERIFIERS
from entropostat.trainers.prompts import load_data
from entropostat.trainers.run import run_recipe

FILE = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "gsm8k_test_400.jsonl"
COLUMNS = {"prompt": "question", "answer": "answer", "answer_regex": "#### (.+)"}


def as_jsonl(folder: Path) -> dict[str, Any]:
    return {"file": {"path": str(FILE), **COLUMNS}}


def as_parquet(folder: Path) -> dict[str, Any]:
    table().to_parquet(folder / "rows.parquet")
    return {"file": {"path": str(folder / "rows.parquet"), **COLUMNS}}


def as_folder(folder: Path) -> dict[str, Any]:
    table().save_to_disk(folder)
    return {"hub": {"path": str(folder), **COLUMNS}}


FORMS: dict[str, Callable[[Path], dict[str, Any]]] = {
    "jsonl": as_jsonl,
    "parquet": as_parquet,
    "datasets folder": as_folder,
}
"""Name -> the rows in that form in a folder, as a source of a recipe."""
RECIPE = {
    "name": "gsm8k",
    "reward": [{"numeric": {}}],
    "objective": {"advantages": [{"grpo": {}}], "loss": {"trl": {}}, "penalties": [{"entropy_bonus": {"coef": -0.5}}]},
    "trainer": {
        "per_device_train_batch_size": 16,
        "gradient_accumulation_steps": 1,
        "steps_per_generation": 1,
        "num_generations": 2,
        "max_completion_length": 6,
        "max_steps": 2,
        "learning_rate": 0.01,
        "gradient_checkpointing": False,
        "save_strategy": "no",
        "chat_template_kwargs": {"enable_thinking": False},
    },
    "evaluate": {"prompts": 16, "samples": 2, "k": [1, 2]},
}


def table() -> Any:
    from datasets import Dataset

    return Dataset.from_list([json.loads(line) for line in FILE.read_text().splitlines()])


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Recipe, Path]]:
    """Each form's recipe and its run, on a policy of some thousand parameters."""
    if not FILE.exists():
        pytest.skip(f"{FILE.name} is not beside this checkout, in ../shared/data: its rows are not tried")
    made = {}
    for name, form in FORMS.items():
        folder = tmp_path_factory.mktemp("gsm8k")
        (folder / "rows").mkdir()
        data = {"sources": {"gsm8k": form(folder / "rows")}, "held_out": 0.2, "system": ""}
        text = {**RECIPE, "data": data, "model": {"path": standins.saved("qwen3")}, "output_dir": str(folder)}
        (folder / "recipe.yaml").write_text(json.dumps(text))
        recipe = load(folder / "recipe.yaml")
        assert run_recipe(recipe) == 0
        made[name] = recipe, folder / "gsm8k"
    return made


def results(run: Path) -> dict[str, Any]:
    summary = json.loads((run / "summary.json").read_text())
    return {key: value for key, value in summary.items() if key.startswith("evaluate/gsm8k/")}


def test_every_form_trains_and_ends_at_the_same_numbers(runs: dict[str, tuple[Recipe, Path]]) -> None:
    told = {name: results(run) for name, (_, run) in runs.items()}
    assert {"evaluate/gsm8k/pass@1", "evaluate/gsm8k/pass@2", "evaluate/gsm8k/greedy"} <= told["jsonl"].keys()
    assert all(numbers == told["jsonl"] for numbers in told.values())


def test_its_answers_are_those_of_the_file_and_can_be_right(runs: dict[str, tuple[Recipe, Path]]) -> None:
    recipe, _ = runs["parquet"]
    prompts = load_data(recipe)
    train, held_out = prompts.train["gsm8k"], prompts.tests["gsm8k"]
    assert len(train) + len(held_out) == 400 and 40 < len(held_out) < 120
    verifier = VERIFIERS.build("numeric", {})
    assert all(verifier.score(f"... so #### {example.answer}", example) == 1.0 for example in [*train, *held_out])
    assert all(example.source == "gsm8k" for example in held_out)


def test_its_policy_is_measured_again_from_the_command_line(
    runs: dict[str, tuple[Recipe, Path]], tmp_path: Path
) -> None:
    recipe, run = runs["datasets folder"]
    out = tmp_path / "again.json"
    assert main(["evaluate", str(recipe.path), "--model", str(run / "final"), "--out", str(out)]) == 0
    (again,) = json.loads(out.read_text())
    assert again["metrics"] == results(run) and again["prompts"] == {"gsm8k": 16}
