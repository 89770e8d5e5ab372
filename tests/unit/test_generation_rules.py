"""What a recipe may say in trainer.generation_kwargs and in sampler.stop, and that every key there is has been judged."""

from __future__ import annotations

import json

import pytest

from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.errors import RecipeError
from entropostat.recipe.generation_keys import COUNTERPARTS, TRANSFORMERS, VLLM
from entropostat.recipe.generation_rules import biasing, key_of, refusal
from entropostat.recipe.lints import lints

RECIPE = """\
name: base
model: {build: {}}
data: {sources: {easy: {chain: {length: 5, size: 4096}}}, curriculum: [{source: easy, steps: 8}]}
reward: [chain: {}]
evaluate: {prompts: 4, samples: 2, k: [1]}
trainer:
  per_device_train_batch_size: 64
  steps_per_generation: 4
  num_generations: 8
"""


@pytest.fixture
def find(tmp_path):
    """(level, key, text) of every lint of the recipe with ``generation_kwargs``."""

    def run(kwargs, *overrides):
        path = tmp_path / "base.yaml"
        path.write_text(RECIPE + f"  generation_kwargs: {json.dumps(kwargs)}\n")
        recipe = load(path, overrides)
        return {(lint.level, lint.key, str(lint)) for lint in lints(recipe, arithmetic(recipe))}

    return run


def line_of(find, kwargs, *overrides):
    with pytest.raises(RecipeError) as error:
        find(kwargs, *overrides)
    (problem,) = error.value.problems
    return str(problem)


def test_every_field_of_transformers_generation_config_has_been_judged():
    """Red with a release that adds one: say in generation_keys.py what it does to sampling."""
    from transformers import GenerationConfig

    assert {name for name in vars(GenerationConfig()) if not name.startswith("_")} == set(TRANSFORMERS)


def test_every_field_of_vllms_sampling_params_has_been_judged():
    vllm = pytest.importorskip("vllm")
    assert {name for name in vllm.SamplingParams.__annotations__ if not name.startswith("_")} <= set(VLLM)


def test_what_transformers_fills_in_itself_counts_as_off():
    from transformers import GenerationConfig

    for name, value in GenerationConfig._get_default_generation_params().items():
        if TRANSFORMERS[name].kind in ("distribution", "breaks", "inert") and name != "do_sample":
            assert not TRANSFORMERS[name].acts(value), name


@pytest.mark.parametrize("table", [TRANSFORMERS, VLLM], ids=["transformers", "vllm"])
def test_every_judgement_has_its_reason_and_its_place_exists(table, tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)
    recipe = load(tmp_path / "base.yaml")
    from entropostat.catalog import load as catalog

    fields = {f.name for f in catalog().trainer["grpo"]}
    for name, key in table.items():
        assert key.why and not key.acts(None), name
        if key.kind in ("elsewhere", "stop"):
            block, _, field = key.why.partition(".")
            assert hasattr(recipe.sampler, field) if block == "sampler" else field in fields, name
    assert all(a in TRANSFORMERS and b in VLLM for a, b in COUNTERPARTS.items())


def test_a_key_that_has_its_own_place_is_named_with_file_line_value_and_place(find):
    for name, key in TRANSFORMERS.items():
        if key.kind in ("elsewhere", "stop"):
            line = line_of(find, {name: 7})
            assert "base.yaml:10: " in line and f"trainer.generation_kwargs.{name}: " in line
            assert "(value 7)" in line and f"use {key.why}" in line
    assert "use sampler.stop" in line_of(find, {"stop_token_ids": [3]}, "trainer.use_vllm=true")
    assert "use sampler.stop" in line_of(find, {"stop": "x"}, "trainer.use_vllm=true")


def test_json_text_is_read_as_the_mapping_that_trl_makes_of_it(find):
    assert "use sampler.stop" in line_of(find, '{"eos_token_id": [5]}')
    assert ("warning", "trainer.generation_kwargs.no_repeat_ngram_size") in {
        (level, key) for level, key, _ in find('{"no_repeat_ngram_size": 2}')
    }


@pytest.mark.parametrize(
    "kwargs, overrides, said",
    [
        ({"no_repeat_ngrams": 2}, (), "did you mean 'no_repeat_ngram_size'?"),
        ({"logits_processor": []}, (), "would do nothing"),
        ({"min_tokens": 2}, (), "is vLLM's name (value 2), and transformers generates; use min_new_tokens"),
        ({"presence_penalty": 2}, (), "leave it out"),
        ({"min_new_tokens": 2}, ("trainer.use_vllm=true",), "and vLLM generates; use min_tokens"),
        ({"typical_p": 0.5}, ("trainer.use_vllm=true",), "and vLLM generates; leave it out"),
        ({"do_sample": False}, (), "all completions of a prompt would be the same"),
        ({"penalty_alpha": 0.5}, (), "contrastive search does not sample"),
        ({"num_beams": 2}, ("trainer.use_transformers_continuous_batching=true",), "continuous batching leaves it out"),
    ],
)
def test_what_would_do_nothing_or_break_the_run_is_one_line(find, kwargs, overrides, said):
    line = line_of(find, kwargs, *overrides)
    assert said in line and f"trainer.generation_kwargs.{next(iter(kwargs))}: " in line


def test_every_key_that_changes_the_distribution_is_a_warning_and_no_other_is(find):
    for name, key in TRANSFORMERS.items():
        value = True if False in key.off else 7
        kwargs = {name: value} | ({key.beside: 7} if key.beside else {})
        if key.kind not in ("distribution", "harmless"):
            continue
        told = {(level, k): text for level, k, text in find(kwargs)}
        warned = told.get(("warning", f"trainer.generation_kwargs.{name}"), "")
        assert ("biases the ratio" in warned and "evaluation applies it too" in warned) == (key.kind == "distribution")
        assert not find({name: key.off[-1]}) or len(key.off) == 1, name


def test_what_acts_on_beams_alone_is_no_lint_without_them(find):
    assert find({"length_penalty": 2.0, "early_stopping": True}) == set()


def test_evaluation_applies_what_vllm_is_told_but_for_a_seed(find):
    text = " ".join(t for *_, t in find({"min_tokens": 2, "presence_penalty": 1, "seed": 3}, "trainer.use_vllm=true"))
    assert text.count("evaluation applies it too") == 2 and text.count("evaluation leaves it out") == 1
    new = find({"brand_new": 2}, "trainer.use_vllm=true")
    assert ("warning", "trainer.generation_kwargs.brand_new") in {(level, key) for level, key, _ in new}
    regex = find({}, "trainer.use_vllm=true", "trainer.vllm_structured_outputs_regex='a+'")
    assert ("warning", "trainer.vllm_structured_outputs_regex") in {(level, key) for level, key, _ in regex}


def test_the_samplers_own_keys_say_what_evaluation_does(find):
    said = lambda *words: next(t for _, key, t in find({}, "sampler.top_p=.9", *words) if key == "sampler.top_p")
    assert "evaluation samples with it too" in said()
    assert "evaluation has its own, 1;" in said("evaluate.top_p=1")


@pytest.mark.parametrize(
    "value, said",
    [
        ("5", "must be a list, not 5"),
        ("[1.5]", "must be a whole number or text, not 1.5"),
        ("[true]", "must be a whole number or text, not true"),
        ("[-1]", "must be at least 0 and at most 2147483647, not -1"),
        ("[null]", "must be a whole number or text, not null"),
    ],
)
def test_a_stop_that_is_no_list_of_ids_and_texts_is_one_line(find, value, said):
    line = line_of(find, {}, f"sampler.stop={value}")
    assert "sampler.stop" in line and said in line


@pytest.mark.parametrize("name", ["stop_token", "stop_token_id"])
def test_the_former_names_lead_to_the_stops_and_are_taken_for_no_secret(find, name):
    assert "use sampler.stop" in line_of(find, {}, f"trainer.{name}=5")


def test_stops_are_read_as_they_are_written(tmp_path):
    (tmp_path / "base.yaml").write_text(RECIPE)
    assert load(tmp_path / "base.yaml", ["sampler.stop=[5, ';', <eos>]"]).sampler.stop == [5, ";", "<eos>"]
    assert load(tmp_path / "base.yaml").sampler.stop == []


def test_an_off_value_neither_biases_nor_is_refused():
    assert biasing({"no_repeat_ngram_size": 0, "typical_p": 1.0, "suppress_tokens": None}, "transformers") == {}
    assert list(biasing({"no_repeat_ngram_size": 1, "num_beams": True}, "transformers")) == [
        "no_repeat_ngram_size",
        "num_beams",
    ]
    assert refusal("num_return_sequences", 1, "transformers") is None
    assert refusal("do_sample", True, "transformers") is None
    assert key_of("stop_token_ids", "transformers") is not None and key_of("n", "transformers") is None
