"""What a recipe says of the rows that are trained on: shares, conditions and the form of a prompt, as `plan` checks it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from support.linting import linted, recipe

from entropostat.cli import plan
from entropostat.recipe import Recipe, RecipeError, load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints, prompts
from entropostat.recipe.resume import changes, fingerprint
from entropostat.recipe.schema import schema

SOURCES = (
    "data.sources.math={file: {path: math.jsonl, where: {level: [4, 5], 'extra.split': train, score: {min: 0.5}}}}"
)
ALL = "data.curriculum=null"
STAGE = "data.curriculum=[{source: {easy: 1, hard: 3}, steps: 40}]"


@pytest.mark.parametrize(
    "override, key, said",
    [
        ("data.weights={easy: 1, hrad: 2}", "data.weights.hrad", "did you mean 'hard'"),
        ("data.weights={easy: 1}", "data.weights", "says nothing of hard; give each source a share"),
        ("data.weights={easy: 0, hard: 1}", "data.weights.easy", "must be"),
        ("data.weights={easy: -1, hard: 1}", "data.weights.easy", "must be"),
        ("data.weights={easy: .inf, hard: 1}", "data.weights.easy", "must be"),
        ("data.weights={easy: a, hard: 1}", "data.weights.easy", "must be a number"),
        ("data.max_prompt_tokens=0", "data.max_prompt_tokens", "at least 1"),
        ("data.duplicates=twice", "data.duplicates", "drop, keep"),
        ("data.curriculum=[{source: {easy: 1, hrad: 2}, steps: 4}]", "data.curriculum.0.source.hrad", "did you mean"),
        ("data.curriculum=[{source: {easy: 0}, steps: 4}]", "data.curriculum.0.source.easy", "above 0"),
        ("data.curriculum=[{source: {easy: a}, steps: 4}]", "data.curriculum.0.source.easy", "must be a number"),
        ("data.curriculum=[{source: [easy], steps: 4}]", "data.curriculum.0.source", "must be"),
        ("data.curriculum=[{source: {}, steps: 4}]", "data.curriculum.0.source", "is empty"),
        ("data.sources.easy={file: {path: a, where: {l: {mni: 1}}}}", "data.sources.easy.file.where.l.mni", "'min'"),
        ("data.sources.easy={hub: {path: a, where: {l: []}}}", "data.sources.easy.hub.where.l", "empty list"),
        ("evaluate.sets={t: {hub: {path: a, where: {l: {}}}}}", "evaluate.sets.t.hub.where.l", "says nothing"),
        ("data.sources.easy={hub: {path: a, where: l > 3}}", "data.sources.easy.hub.where", "must be a mapping"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(override: str, key: str, said: str) -> None:
    with pytest.raises(RecipeError) as refused:
        recipe(ALL, override)
    (line,) = str(refused.value).splitlines()
    assert f"{key}: " in line and said in line


def test_weights_beside_a_curriculum_are_refused() -> None:
    with pytest.raises(RecipeError, match=r"data\.weights: is not read, because data\.curriculum"):
        recipe("data.weights={easy: 1, hard: 1}")


def test_the_schema_takes_what_the_check_takes() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    file: dict[str, Any] = {
        "data": {"sources": {"a": {"hub": {"path": "x", "where": {"l": [1, None], "s": {"min": 0}}}}}}
    }
    file["data"] |= {"weights": {"a": 2}, "curriculum": [{"source": {"a": 1.5}, "steps": 3}], "max_prompt_tokens": 9}
    assert validator.is_valid(file)
    where = file["data"]["sources"]["a"]["hub"]["where"]
    for wrong in ({"mni": 1}, [], {}, [[1]]):
        where["l"] = wrong
        assert not validator.is_valid(file), wrong


def test_plan_shows_the_shares() -> None:
    mixed = recipe(ALL, "data.weights={easy: 1, hard: 3}")
    assert [(row["source"], row["share"]) for row in plan.plan(mixed)["data"]] == [("easy", 0.25), ("hard", 0.75)]
    assert "75% of what is drawn" in "\n".join(plan.text(mixed, plan.plan(mixed)))
    (stage,) = plan.plan(recipe(STAGE))["data"]
    assert stage["source"] == "easy+hard" and stage["shares"] == {"easy": 0.25, "hard": 0.75}
    assert stage["pool"] == 130 + 3277


def test_a_source_that_is_too_small_for_its_share_is_noted() -> None:
    loaded = recipe("data.curriculum=[{source: {easy: 1, hard: 3}, steps: 4000}]")
    said = {lint.key: lint.message for lint in lints(loaded, arithmetic(loaded)) if lint.level == "note"}
    assert "needs 8000 prompts and it has at most 130" in said["data.sources.easy"]


def test_a_run_goes_on_with_the_same_rows_alone() -> None:
    before = recipe(STAGE)
    for override in ("data.duplicates=keep", "data.max_prompt_tokens=99", "data.missing_answer=drop"):
        assert [change.key for change in changes(before, recipe(STAGE, override), 4).refused] == [
            override.split("=")[0]
        ]
    other = "data.curriculum=[{source: {easy: 2, hard: 3}, steps: 40}]"
    assert changes(before, recipe(other), 4).refused and not changes(before, recipe(other), 0).refused
    assert (
        fingerprint(before, 4) == fingerprint(recipe(STAGE, "data.duplicates=drop"), 4) != fingerprint(recipe(other), 4)
    )


def model(folder: Path, template: str | None, file: str = "tokenizer_config.json") -> str:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text(json.dumps({"chat_template": template} if template else {}))
    if file.endswith(".jinja"):
        (folder / file).write_text("{{ messages }}")
    return f"model={{path: {folder}}}"


def said(*overrides: str) -> set[tuple[str, str]]:
    return linted(prompts.RULES, *overrides)


def test_plain_text_for_a_model_with_a_chat_template_is_told(tmp_path: Path) -> None:
    note, warning = {("note", "data.system")}, {("warning", "data.system")}
    assert said(model(tmp_path / "base", "x")) == note
    assert said(model(tmp_path / "other", None, "chat_template.jinja")) == note
    for name in ("My-7B-Instruct", "gemma-it", "Llama-chat-hf"):
        assert said(model(tmp_path / name, "x")) == warning
        assert said(model(tmp_path / "x" / name, None)) == set(), "its files say that there is none"
        assert said(f"model={{path: org/{name}}}") == warning, "by its name, where its files are not here"
    assert said("model={path: org/Titanic-Bit}") == said("model={path: org/plain}") == set()
    assert said("model={package: {name: p, file: SmolLM2-Instruct.Q4.gguf}}") == warning


def test_a_system_prompt_silences_it_and_the_empty_one_is_the_fix(tmp_path: Path) -> None:
    with_template = model(tmp_path / "base", "x")
    for system in ('data.system=""', "data.system=Be brief."):
        assert said(with_template, system) == said("model={path: org/X-Instruct}", system) == set()


def test_a_conversation_without_a_template_is_an_error(tmp_path: Path) -> None:
    error = {("error", "data.system")}
    assert said(model(tmp_path / "plain", None), 'data.system=""') == error == said("data.system=Be brief.")
    assert said("model={path: org/unknown}", 'data.system=""') == set()


def test_a_prompt_and_its_completion_have_to_fit_the_context() -> None:
    vllm = "trainer={use_vllm: true, vllm_max_model_length: 100, max_completion_length: 60}"
    assert said(vllm, "data.max_prompt_tokens=41") == {("warning", "data.max_prompt_tokens")}
    assert said(vllm, "data.max_prompt_tokens=40") == said("data.max_prompt_tokens=9999") == set()


def test_an_adapter_speaks_as_its_base(tmp_path: Path) -> None:
    model(tmp_path / "base", "x")
    (tmp_path / "adapter").mkdir()
    config = {
        "peft_type": "LORA",
        "base_model_name_or_path": str(tmp_path / "base"),
        "r": 4,
        "target_modules": ["q_proj"],
    }
    (tmp_path / "adapter" / "adapter_config.json").write_text(json.dumps(config))
    assert said(f"model={{path: {tmp_path / 'adapter'}}}") == {("note", "data.system")}


@pytest.mark.parametrize("text", ["[", "[]", '"x"', '{"chat_template": null}', "{" * 2000])
def test_a_damaged_tokenizer_is_no_error_of_plan(tmp_path: Path, text: str) -> None:
    override = model(tmp_path / "m-Instruct", "x")
    (tmp_path / "m-Instruct" / "tokenizer_config.json").write_text(text)
    assert said(override) <= {("warning", "data.system")}


def instructs(text: str) -> Recipe:
    file = Path("entropostat:base/grpo.yaml")
    return load(str(file), ["model={path: org/X-Instruct}", text, "reward=[numeric: {}]"])


def test_a_recipe_that_extends_the_base_asks_in_the_template() -> None:
    loaded = instructs("data.sources={a: {file: {path: a.jsonl}}}")
    assert loaded.data.system == "" and not [x for x in lints(loaded, arithmetic(loaded)) if x.key == "data.system"]
