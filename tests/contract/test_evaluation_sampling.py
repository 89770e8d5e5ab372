"""An evaluation samples as training does, key by key of the sampler block, but for what its own block says."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
from support import tiny
from transformers import LogitsProcessorList

from entropostat.data.example import Example
from entropostat.recipe import load
from entropostat.recipe.sampler_block import Sampler
from entropostat.reward.judge import Outcome
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.measurement import measurement

ACTING: dict[str, Any] = {
    "temperature": 0.7, "top_p": 0.8, "top_k": 5, "min_p": 0.1, "typical_p": 0.9, "eta_cutoff": 0.03, "top_h": 0.5,
    "mirostat": {"tau": 2.0}, "repetition_penalty": 1.3,
}  # fmt: skip
"""One acting value for each key."""
OF_TRL = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")
SETS = {"set": [Example(f"{i}+{i}=", None, {}, str(i)) for i in range(2)]}
SAMPLES = "evaluate={samples: 3, k: [1], reference: false}"


def words(sampler: dict[str, Any]) -> list[str]:
    return [f"sampler.{key}={value}" for key, value in sampler.items()]


def drawn(sampler: dict[str, Any], *overrides: str) -> tuple[Any, Any, Any]:
    """What applied to a generation of training, to the samples of an evaluation, and to its greedy completions: configs, and what
    the processors said of themselves.
    """
    recipe = load("entropostat:quickstart/plain.yaml", [SAMPLES, *words(sampler), *overrides])
    trainer = EntropyGRPOTrainer(
        model=tiny.model(), reward_funcs=tiny.digits, processing_class=tiny.tokenizer(), train_dataset=tiny.prompts(),
        objective=tiny.objective(), args=tiny.config(**{key: sampler[key] for key in OF_TRL if key in sampler}),
        sampler=recipe.sampler,
    )  # fmt: skip
    calls: list[Any] = []
    build = trainer.model._get_logits_processor

    def watched(generation_config: Any, **how: Any) -> Any:
        made = build(generation_config=generation_config, **how)
        calls.append((generation_config, list(map(described, made))))
        return made

    trainer.model._get_logits_processor = watched  # type: ignore[method-assign]
    trainer._generate_single_turn([[3, 4, 5]] * 4, None, {}, 4)
    verify = lambda said, asked: [Outcome(score=0.0)] * len(said)
    judging: Any = SimpleNamespace(
        judge=lambda _: "digits", strategies=lambda _: (), verify=verify, learned=lambda *_: {}
    )
    measurement(recipe, trainer, judging, SETS, "")()
    training, sampled, greedy = calls
    return training, sampled, greedy


def described(processor: Any) -> tuple[str, ...]:
    """Its class, and its numbers; of what works at a temperature, that and what is inside."""
    inner = described(processor.inner) if hasattr(processor, "inner") else ()
    own = [f"{k}={v}" for k, v in sorted(vars(processor).items()) if isinstance(v, int | float | str)]
    options = [repr(processor.options)] if hasattr(processor, "options") else []
    return (type(processor).__name__, *own, *options, *inner)


def test_every_key_has_an_acting_value_here() -> None:
    assert ACTING.keys() == Sampler.model_fields.keys() - {"stop"}


@pytest.mark.parametrize("key", ACTING)
def test_what_acts_in_training_acts_in_evaluation(key: str) -> None:
    training, sampled, greedy = drawn({key: ACTING[key], "temperature": 0.7})
    assert sampled[1] == training[1] and len(training[1]) >= 1
    for name in OF_TRL:
        assert (getattr(sampled[0], name) or 0) == (getattr(training[0], name) or 0), name
    assert not greedy[0].do_sample and greedy[0].repetition_penalty == training[0].repetition_penalty


def test_its_own_block_wins_and_the_samplers_of_ours_work_at_its_temperature() -> None:
    own = "evaluate={samples: 3, k: [1], reference: false, temperature: 0.5, top_p: 0.6, top_k: 3}"
    training, sampled, _ = drawn({"temperature": 0.7, "top_p": 0.8, "typical_p": 0.9}, own)
    config = sampled[0]
    assert (config.temperature, config.top_p, config.top_k) == (0.5, 0.6, 3)
    (ours,) = (said for said in sampled[1] if said[0] == "AtTemperature")
    assert "temperature=0.5" in ours and training[0].temperature == 0.7
    off = drawn({"top_k": 5}, "evaluate={samples: 3, k: [1], reference: false, top_k: 0, top_p: 1}")[1]
    assert off[1] == list(map(described, LogitsProcessorList())), "off is a value, and not null"


def test_the_entropy_is_that_of_the_temperature_it_samples_at() -> None:
    told = []
    for heat in (0.5, 1.0, 1000.0):
        recipe = load("entropostat:quickstart/plain.yaml", [SAMPLES, f"evaluate.temperature={heat}"])
        trainer = tiny.ours(tiny.saved())
        trainer.model.get_output_embeddings().weight.data.mul_(20)
        judging: Any = SimpleNamespace(
            judge=lambda _: None,
            strategies=lambda _: (),
            verify=lambda s, a: [Outcome()] * len(s),
            learned=lambda *_: {},
        )
        told.append(measurement(recipe, trainer, judging, SETS, "")()["evaluate/set/entropy"])
    assert told[0] < told[1] - 0.05 and told[2] == pytest.approx(math.log(len(tiny.CHARACTERS) + 3), abs=1e-3)
