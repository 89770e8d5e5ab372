"""What changes the distribution that completions come from: the same in evaluation as in training, and never in silence."""

from __future__ import annotations

import functools
import logging
from typing import Any

import pytest
import torch
import trl.trainer.grpo_trainer as trl_grpo
from support import evaluated, tiny
from transformers import GenerationConfig
from trl import GRPOTrainer

from entropostat.data.example import Example
from entropostat.recipe.generation_keys import TRANSFORMERS
from entropostat.reward.judge import Outcome
from entropostat.trainers import packages
from entropostat.trainers.evaluation.draws import EvaluateSettings
from entropostat.trainers.grpo import EntropyGRPOTrainer

SAMPLER = {"TemperatureLogitsWarper", "TopKLogitsWarper", "TopPLogitsWarper", "RepetitionPenaltyLogitsProcessor"}
"""What the sampler block says, and evaluation puts aside."""
VALUES: dict[str, Any] = {
    "min_length": 12,
    "min_new_tokens": 3,
    "max_time": 60.0,
    "num_beams": 2,
    "early_stopping": True,
    "length_penalty": -0.1,
    "renormalize_logits": True,
    "top_h": 0.5,
    "typical_p": 0.9,
    "epsilon_cutoff": 3e-2,
    "eta_cutoff": 3e-2,
    "suppress_tokens": [4, 5],
    "remove_invalid_values": True,
    "begin_suppress_tokens": [6],
    "bad_words_ids": [[7]],
    "sequence_bias": [[[8], -3.0]],
    "no_repeat_ngram_size": 1,
    "encoder_repetition_penalty": 1.3,
    "encoder_no_repeat_ngram_size": 1,
    "exponential_decay_length_penalty": (2, 1.5),
    "forced_bos_token_id": 9,
    "forced_eos_token_id": 1,
    "guidance_scale": 1.5,
    "watermarking_config": {"bias": 2.5},
    "assistant_ensemble_weight": 0.5,
}
"""One acting value for each key that changes the distribution."""


def make(own: dict[str, Any] | None = None, cls: type = EntropyGRPOTrainer, **changes: Any) -> Any:
    model = tiny.model()
    for name, value in (own or {}).items():
        setattr(model.generation_config, name, value)
    spec = {"objective": tiny.objective()} if cls is EntropyGRPOTrainer else {}
    return cls(
        model=model,
        reward_funcs=tiny.digits,
        args=tiny.config(**changes),
        processing_class=tiny.tokenizer(),
        train_dataset=tiny.prompts(),
        **spec,
    )


def seen(model: Any, monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """Of each call of generate: the config as it was resolved, and the processors made of it."""
    calls: list[dict[str, Any]] = []
    build = model._get_logits_processor

    def watch(generation_config: GenerationConfig, **kwargs: Any) -> Any:
        processors = build(generation_config=generation_config, **kwargs)
        names = [type(p).__name__ for p in processors if type(p).__name__ not in SAMPLER]
        calls.append({"config": generation_config, "processors": names})
        return processors

    monkeypatch.setattr(model, "_get_logits_processor", watch)
    return calls


def measured(trainer: Any) -> dict[str, float]:
    settings = EvaluateSettings(
        max_new_tokens=8, samples=3, k=(1,), stop=tuple(trainer.eos_token_ids), decoding=trainer.decoding
    )
    verify = lambda texts, asked: [Outcome(score=0.0)] * len(texts)
    examples = [Example(f"{i}+{i}=", None, {}, str(i)) for i in range(2)]
    return evaluated.measured(trainer.model, trainer.processing_class, {"set": examples}, verify, settings)


def test_every_key_that_changes_the_distribution_has_a_value_here() -> None:
    assert set(VALUES) == {name for name, key in TRANSFORMERS.items() if key.kind == "distribution"}


@pytest.mark.parametrize("where", ["generation_kwargs", "the model's own"])
@pytest.mark.parametrize("name", VALUES)
def test_evaluation_draws_as_training_does(
    name: str, where: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    said = {name: VALUES[name]}
    if beside := TRANSFORMERS[name].beside:
        said[beside] = VALUES[beside]
    own, given = ({}, said) if where == "generation_kwargs" else (said, {})
    with caplog.at_level(logging.WARNING):
        trainer = make(own, generation_kwargs=given or None)
    lines = [r.getMessage() for r in caplog.records if name in r.getMessage() and "entropostat" in r.name]
    assert len(lines) == 1 and "biases the ratio" in lines[0] and "\n" not in lines[0]
    assert ("generation_config." if own else "generation_kwargs.") + name in lines[0]
    calls = seen(trainer.model, monkeypatch)
    trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)
    measured(trainer)
    training, sampled, greedy = calls
    assert training["processors"] == sampled["processors"]
    assert set(greedy["processors"]) <= set(sampled["processors"])
    for key in said:
        there = [getattr(call["config"], key) for call in calls]
        assert there[0] == there[1] == there[2] and TRANSFORMERS[key].acts(there[0]), key
    ignored = ("max_time", "early_stopping", "length_penalty", "num_beams", "assistant_ensemble_weight")
    assert training["processors"] or name in ignored, "the case is a case"


def test_a_plain_trainer_applies_and_says_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    own = {"temperature": 0.3, "top_p": 0.5, "top_k": 3, "repetition_penalty": 2.0, "do_sample": False, "max_length": 4}
    with caplog.at_level(logging.WARNING):
        trainer = make({**own, "typical_p": 1.0, "no_repeat_ngram_size": 0, "length_penalty": 3.0})
    assert trainer.decoding == {} and not [r for r in caplog.records if r.name.startswith("entropostat")]
    calls = seen(trainer.model, monkeypatch)
    trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)
    config = calls[0]["config"]
    assert (config.temperature, config.top_p, config.top_k, config.repetition_penalty) == (1.0, 1.0, 0, 1.0)
    assert calls[0]["processors"] == []


@pytest.mark.parametrize("min_p", [None, 0.2])
def test_min_p_is_off_unless_an_argument_says_otherwise(min_p: float | None, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL alone leaves it to the model, unlike temperature, top_p, top_k and the penalty."""
    stock, ours = (make({"min_p": 0.4}, cls, min_p=min_p) for cls in (GRPOTrainer, EntropyGRPOTrainer))
    used = []
    for trainer in (stock, ours):
        calls = seen(trainer.model, monkeypatch)
        trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)
        used.append(calls[0]["config"].min_p)
    assert used == [min_p or 0.4, min_p or 0.0]


def test_a_models_own_key_can_be_turned_off() -> None:
    trainer = make({"no_repeat_ngram_size": 2}, generation_kwargs={"no_repeat_ngram_size": 0})
    assert trainer.decoding == {} and trainer.generation_config.no_repeat_ngram_size == 0


def test_trls_own_suppression_of_image_tokens_holds_in_evaluation_too(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    build = GRPOTrainer.__init__

    @functools.wraps(build)
    def with_eyes(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self.generation_config.suppress_tokens = [5]

    monkeypatch.setattr(GRPOTrainer, "__init__", with_eyes)
    assert make().decoding == {"suppress_tokens": [5]}
    assert not [r for r in caplog.records if r.name.startswith("entropostat")]


@pytest.mark.parametrize(
    "kwargs, said",
    [
        ({"temperature": 0.5}, r"temperature: 0.5 contradicts temperature, 1.0; set temperature alone"),
        ({"num_return_sequences": 2}, r"num_return_sequences: 2 contradicts num_generations, 4"),
        ({"stop_strings": "ab"}, r"stop_strings: cannot be set .* use sampler.stop"),
        ({"do_sample": False}, r"do_sample: cannot be set \(value false\)"),
        ({"no_repeat_ngrams": 2}, r"no_repeat_ngrams: unknown key .* did you mean 'no_repeat_ngram_size'"),
        ({"min_tokens": 2}, r"min_tokens: is vLLM's name \(value 2\), .* use min_new_tokens"),
        ({"dola_layers": "high"}, r"dola_layers: cannot be set .* code from the Hub"),
    ],
)
def test_the_constructor_refuses_what_would_break_contradict_or_do_nothing(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=f"^generation_kwargs.{said}") as error:
        make(generation_kwargs=kwargs)
    assert "\n" not in str(error.value)


def test_the_constructor_takes_what_trl_documents() -> None:
    trainer = make(
        generation_kwargs={"do_sample": True, "top_k": 5, "num_beams": 2, "temperature": 1.0, "use_cache": True}
    )
    trainer.train()
    assert trainer.state.global_step == 2 and trainer.decoding == {"num_beams": 2}


@pytest.mark.parametrize(
    "name",
    [
        *(n for n, key in TRANSFORMERS.items() if key.kind == "breaks" and n not in ("do_sample", "pad_token_id")),
        "num_return_sequences",
    ],
)
def test_what_a_models_own_config_would_break_is_said_before_the_first_generation(name: str) -> None:
    with pytest.raises(ValueError, match=rf"^the model's generation_config.{name} cannot stand \(value "):
        make({name: 3 if name.startswith("num_") else True})


class Engine:
    def __init__(self, **settings: Any) -> None:
        self.generation_kwargs = settings["generation_kwargs"] or {}
        self.temperature = settings["temperature"]


def test_vllm_evaluates_with_its_own_keys_and_the_models_are_said_to_be_left_out(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(trl_grpo, "VLLMGeneration", Engine)
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    kwargs = {"min_tokens": 3, "presence_penalty": 0.5}
    with caplog.at_level(logging.WARNING):
        trainer = make({"typical_p": 0.5}, generation_kwargs=kwargs, use_vllm=True, vllm_mode="colocate")
    lines = [r.getMessage() for r in caplog.records if r.name.startswith("entropostat")]
    assert sum("generation_kwargs.presence_penalty (value 0.5) biases the ratio" in line for line in lines) == 1
    assert any("generation_config.typical_p (value 0.5) is not applied by vLLM" in line for line in lines)
    assert trainer.decoding == {}
    assert kwargs.items() <= trainer.vllm_generation.generation_kwargs.items()


def test_continuous_batching_refuses_what_it_leaves_out() -> None:
    on = {"use_transformers_continuous_batching": True}
    with pytest.raises(ValueError, match=r"^generation_kwargs.min_new_tokens: .* continuous batching leaves it out"):
        make(generation_kwargs={"min_new_tokens": 2}, **on)
    with pytest.raises(ValueError, match=r"^repetition_penalty: continuous batching leaves it out"):
        make(repetition_penalty=1.2, **on)


def test_samples_of_a_prompt_are_drawn_as_if_generate_had_repeated_it() -> None:
    """Beams need the prompts repeated; without them nothing changes, bit for bit."""
    trainer = make()
    tokenizer = trainer.processing_class
    batch = tokenizer(["1+1=", "12+3="], return_tensors="pt", padding=True)
    samples = []
    for repeats in (1, 3):
        torch.manual_seed(0)
        config = GenerationConfig(
            max_new_tokens=8,
            do_sample=True,
            top_k=0,
            eos_token_id=[1],
            pad_token_id=0,
            num_return_sequences=3 // repeats,
        )
        fields = {
            name: value.repeat_interleave(repeats, 0) for name, value in batch.items() if name != "token_type_ids"
        }
        samples.append(trainer.model.generate(**fields, generation_config=config))
    assert torch.equal(*samples)
