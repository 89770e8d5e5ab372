"""The card of a final policy: valid front matter, the recipe, what was measured; no secret, and no path of the machine."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import HfApi, ModelCard

from entropostat.recipe import Recipe, load
from entropostat.trainers.records import model_card as cards
from entropostat.trainers.records.model_card import base_model, model_card, published

HOME = Path.home()
GOOD = """\
name: mine
output_dir: /data/people/ada/runs
model: {path: org/base-model, revision: v1, peft: {}}
data:
  sources:
    maths: {hub: {path: openai/gsm8k, name: main, prompt: question, answer: answer}}
    easy: {chain: {length: 2}}
reward: [chain: {}, function: {path: "mine:score", folder: /data/people/ada/code, options: {table: ~/private/t.csv}}]
objective: {weights: [clip_cov: {}], penalties: [kl_ref: {coef: 0.01}]}
trainer: {learning_rate: 1.0e-5, push_to_hub: true, hub_model_id: ada/mine}
slurm: {account: secret-project, partition: gpu}
tracking: {wandb: {entity: a-team}}
"""
MEASURED = {"evaluate/easy/pass@1": 0.512345, "evaluate/easy/entropy": 1.25}
LAST = {"reward": 0.75, "entropy": 0.9, "kl": 0.01, "loss": -0.1, "step": 3}
VERSIONS = {"entropostat": "0.1.0", "trl": "1.16.0", "vllm": None}


def card(recipe: Recipe, **changes: Any) -> str:
    return model_card(recipe, MEASURED, LAST, VERSIONS, **{"asks": False, **changes})


@pytest.fixture
def recipe(folder: Path) -> Recipe:
    return load(folder / "good.yaml")


def recipe_in(text: str, folder: Path) -> Recipe:
    (block,) = re.findall(r"````yaml\n(.*?)````", text, re.DOTALL)
    (folder / "again.yaml").write_text(block)
    return load(folder / "again.yaml")


def test_the_front_matter_is_what_the_hub_reads(recipe: Recipe) -> None:
    made = ModelCard(card(recipe))  # raises for YAML that is none, or for a tag given twice
    data = made.data.to_dict()
    assert data["base_model"] == "org/base-model" and data["base_model_relation"] == "adapter"
    assert data["datasets"] == ["openai/gsm8k"] and data["library_name"] == "peft"
    assert data["pipeline_tag"] == "text-generation" and "license" not in data
    assert {"entropostat", "trl", "grpo", "lora", "clip_cov", "kl_ref"} <= set(data["tags"])
    made.validate = None  # type: ignore[assignment]  # which asks the Hub


def test_the_recipe_in_it_is_the_method_and_loads_again(recipe: Recipe, folder: Path) -> None:
    again = recipe_in(card(recipe), folder)
    assert again.objective == recipe.objective and again.seed == recipe.seed
    assert again.model == recipe.model and again.trainer == {"learning_rate": 1e-5}
    for line in ("| reward | 0.75 |", "| entropy | 0.9 |", "| evaluate/easy/pass@1 | 0.5123 |", "- trl 1.16.0"):
        assert line in card(recipe)
    assert "vllm" not in card(recipe)


def test_nothing_of_the_machine_is_in_it(recipe: Recipe) -> None:
    text = card(recipe)
    for word in (
        "/data/people",
        "ada/runs",
        "secret-project",
        "a-team",
        "ada/mine",
        "private",
        str(HOME),
        "output_dir",
        "slurm",
    ):
        assert word not in text, word
    assert "<local>/code" in text and "<local>/t.csv" in text and "mine:score" in text


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ("/data/models/Qwen", "<local>/Qwen"),
        (str(HOME), "<local>"),
        ("/home/ada", "<local>"),
        ("/home/ada/", "<local>"),
        ("/home/ada/rows", "<local>/rows"),
        ("/", "<local>"),
        (f"{HOME}/models/Qwen", "<local>/Qwen"),
        ("~/models/Qwen", "<local>/Qwen"),
        ("~ada/models/Qwen", "<local>/Qwen"),
        ("../models/Qwen/", "<local>/Qwen"),
        ("read /srv/data/rows.jsonl and more", "read <local>/rows.jsonl and more"),
        ("org/base-model", "org/base-model"),
        ("https://host/a/b", "https://host/a/b"),
        ("Think in <think>...</think>, then answer yes/no", "Think in <think>...</think>, then answer yes/no"),
        ("1/2 + 3/4 km/h", "1/2 + 3/4 km/h"),
        (0.5, 0.5),
        ({"a": ["/x/y/z"]}, {"a": ["<local>/z"]}),
    ],
)
def test_of_a_path_its_last_name_is_left(said: Any, told: Any) -> None:
    assert published(said, frozenset({"home", "ada", *HOME.parts})) == told
    assert cards._private() == set(HOME.parts) - {"/"}


def test_a_local_base_is_no_tag_and_its_own_card_gives_the_license(folder: Path) -> None:
    base = folder / "people" / "base"
    base.mkdir(parents=True)
    (base / "README.md").write_text("---\nlicense: apache-2.0\n---\n# Base\n")
    recipe = load(folder / "good.yaml", [f"model.path={base}", "model.peft=null", "model.revision=null"])
    data = ModelCard(card(recipe)).data.to_dict()
    assert base_model(recipe) is None and "base_model" not in data and data["library_name"] == "transformers"
    assert data["license"] == "apache-2.0" and str(folder) not in card(recipe)


@pytest.mark.parametrize(
    "text", ["", "---\n[\n---\n", "---\nlicense: [a]\n---\n", "---\nlicense: '<x> y'\n---\n", "\xff"]
)
def test_a_damaged_card_of_the_base_costs_the_tag_alone(folder: Path, text: str) -> None:
    (folder / "base").mkdir()
    (folder / "base" / "README.md").write_bytes(text.encode("latin-1"))
    recipe = load(folder / "good.yaml", [f"model.path={folder / 'base'}", "model.revision=null"])
    assert "license" not in ModelCard(card(recipe)).data.to_dict()


def test_the_hub_is_asked_for_a_license_where_it_may_be(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    class Found:
        card_data = ModelCard("---\nlicense: mit\n---\n").data

    monkeypatch.setattr(HfApi, "model_info", lambda self, name, timeout: asked.append(name) or Found())
    assert ModelCard(card(recipe, asks=True)).data.license == "mit" and asked == ["org/base-model"]
    assert ModelCard(card(recipe)).data.license is None and len(asked) == 1

    def down(self: Any, name: str, timeout: float) -> None:
        raise ConnectionError

    monkeypatch.setattr(HfApi, "model_info", down)
    assert ModelCard(card(recipe, asks=True)).data.license is None


def test_a_run_without_numbers_still_has_a_card(recipe: Recipe) -> None:
    text = model_card(recipe, {}, {"reward": None}, {}, asks=False)
    assert "## At the end" not in text and "## Recipe" in text and cards.ROWS[0] in GOOD
