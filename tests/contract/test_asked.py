"""What `entropostat data` shows is what TRL's trainer asks: the same ids from the same table, text or conversation."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import tiny
from support.tables import table as rows_of
from trl import GRPOTrainer

from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.recipe.prompts import first_asked
from entropostat.trainers.prompts import lay_out, load_data
from entropostat.trainers.run import training_config
from entropostat.trainers.trl.asked import token_ids

TEMPLATE = (
    "{% for m in messages %}{{ m['role'][:1] }}={{ m['content'] }} {% endfor %}"
    "{% if add_generation_prompt %}a={% if ab is defined %}{{ ab }}{% endif %}{% endif %}"
)


@pytest.fixture(scope="module")
def policy() -> GRPOTrainer:
    spoken = tiny.tokenizer()
    spoken.chat_template = TEMPLATE
    return tiny.stock(tiny.written(tiny.model(), spoken))


@pytest.mark.parametrize("system", [None, "", "be"])
@pytest.mark.parametrize("options", [None, {"ab": "cd"}])
def test_the_ids_are_those_of_trls_trainer(policy, system, options):
    examples = [Example(prompt=text) for text in ("1+2=", "3", "ab 45*6=")]
    table = list(rows_of({"": examples}, system=system).rows()["prompt"])
    policy.chat_template_kwargs = options or {}
    spoken = policy.processing_class
    wanted = policy._tokenize_prompts(table)[0]
    assert token_ids(table, spoken, options) == wanted and len({len(row) for row in wanted}) == 3
    if system == "be" and options:
        assert spoken.decode(wanted[0]).endswith("=cd")


def test_no_prompts_have_no_ids():
    assert token_ids([], None) == []


@pytest.mark.parametrize("stages", ["null", "[{source: b, steps: 3}, {source: a, steps: 3}]"])
@pytest.mark.parametrize("seed", [0, 1])
def test_the_prompts_shown_are_the_first_of_a_run(stages, seed, tmp_path: Path):
    words = ["data.sources={a: {chain: {length: 2}}, b: {chain: {length: 3, size: 300}}}", "trainer.max_steps=6"]
    words += [f"data.curriculum={stages}", f"seed={seed}", f"output_dir={tmp_path}"]
    recipe = load("entropostat:quickstart/plain.yaml", words)
    table = load_data(recipe)
    asked = lay_out(recipe, training_config(recipe, tmp_path), table).dataset
    wanted = [(row["source"], row["id"]) for row in asked.select(range(5))]
    assert [(example.source, example.id) for example in first_asked(recipe, table, 5)] == wanted
