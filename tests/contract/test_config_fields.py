"""Every field of the configs: it acts, or it is refused, or it is listed here with the reason why neither is the case.

A field that a new TRL or transformers brings is in none of the lists, and turns the first test red.
"""

from __future__ import annotations

import ast
import copy
import dataclasses
import itertools
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import tiny
from support.config_fields import (
    ACT,
    BARE,
    DEFAULTS,
    EVALUATED,
    FIELDS,
    IRRELEVANT,
    KEPT,
    OBJECTIVES,
    OURS,
    REFERENCE,
    STOCK,
    TO_VLLM,
)
from transformers import set_seed
from trl import GRPOConfig, GRPOTrainer
from trl.trainer import grpo_trainer

from entropostat.recipe.errors import show
from entropostat.recipe.objective import as_control
from entropostat.recipe.owned import IDLE, NOT_IN_TRAINER, OWNED, REFUSED
from entropostat.trainers import packages
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.config import configure, owned_fields, without_effect
from entropostat.trainers.trl.ppo_config import PPOConfig


def test_every_field_is_in_exactly_one_list() -> None:
    lists = [*ACT, *KEPT, *TO_VLLM, *STOCK, *IRRELEVANT, *IDLE["any"]]
    assert sorted(lists) == sorted(FIELDS)
    assert {f.name for f in dataclasses.fields(PPOConfig)} == set(FIELDS)


def test_a_field_that_a_recipe_refuses_says_why_and_no_other_is_idle() -> None:
    assert {*itertools.chain(*IDLE.values())} <= NOT_IN_TRAINER
    assert not OWNED.keys() & REFUSED.keys()
    assert all(text for text in (*OWNED.values(), *REFUSED.values()))


# ---------------------------------------------------------------------------------------------- fields that act


def outcome(path: str, objective: str, changes: dict[str, Any]) -> Any:
    """All that can be seen of a short run, or the error that refuses it."""
    set_seed(0)
    try:
        args = tiny.config(**{"learning_rate": 0.05, **changes})
        spec = OBJECTIVES[objective]
        trainer = EntropyGRPOTrainer(path, tiny.digits, args, tiny.prompts(), tiny.prompts(4), objective=spec)
        trainer.train()
    except ValueError as error:
        return error
    silent = ("time", "second", "_ms")
    logs = [{k: v for k, v in row.items() if not any(s in k for s in silent)} for row in trainer.state.log_history]
    weights = sum(p.double().abs().sum().item() for p in trainer.model.parameters())
    shapes = {key: x.shape for key, x in trainer._buffered_inputs[0].items() if isinstance(x, torch.Tensor)}
    files = sorted(f.name for f in Path(args.output_dir).rglob("*.parquet"))
    return logs, weights, shapes, files, trainer.generation_config.to_dict()


@cache
def beside(path: str, objective: str, changes: str) -> str:
    """What a run without the field looks like. ``changes`` as text: a mapping cannot be a key."""
    return repr(outcome(path, objective, ast.literal_eval(changes)))


def tried(field: str, besides: dict[str, Any]) -> list[str]:
    """A loss of ours, where most can be lost; what is refused there has to act, or to be refused, elsewhere as well."""
    names = {field, *besides}
    more = [BARE] if names & {*itertools.chain(*IDLE.values())} else []
    more += [REFERENCE] if any("ref_model" in name for name in names) else []
    return [OURS, *more, *(["a moving temperature"] if field in IDLE["temperature"] else [])]


@pytest.mark.parametrize("field", ACT)
def test_a_field_acts_or_is_refused(path: str, field: str) -> None:
    value, besides = ACT[field]
    acts, refusals = 0, []
    for objective in tried(field, besides):
        result = outcome(path, objective, {**besides, field: value})
        if isinstance(result, ValueError):
            refusals.append(str(result))
            continue
        assert repr(result) != beside(path, objective, repr(besides)), f"{field}: {value} changes nothing: {objective}"
        acts += 1
    assert all(any(name in said for name in (field, *besides)) for said in refusals), refusals
    assert acts or all(field in said for said in refusals), refusals


def test_two_equal_runs_look_the_same(path: str) -> None:
    """Without this, the test above could not fail."""
    assert repr(outcome(path, "TRL's loss", {})) == repr(outcome(path, "TRL's loss", {}))


def test_what_trl_keeps_or_hands_to_vllm_is_what_the_args_say(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    made: dict[str, Any] = {}
    monkeypatch.setattr(grpo_trainer, "VLLMGeneration", lambda **given: made.update(given) or SimpleNamespace(**given))
    monkeypatch.setattr(packages, "find_spec", lambda module: True)
    args = tiny.config(**KEPT, **{name: value for name, (value, _) in TO_VLLM.items()})
    for objective in ("TRL's loss", "a loss of ours"):
        made.clear()
        trainer = EntropyGRPOTrainer(
            tiny.Qwen2ForCausalLM.from_pretrained(path), tiny.digits, args, tiny.prompts(),
            processing_class=tiny.tokenizer(), objective=OBJECTIVES[objective],
        )  # fmt: skip
        assert {name: getattr(trainer, name) for name in KEPT} == KEPT
        assert {name: made[key] for name, (_, key) in TO_VLLM.items()} == {n: v for n, (v, _) in TO_VLLM.items()}


# ---------------------------------------------------------------------------------------------- fields that pass


@dataclasses.dataclass
class Watched(GRPOConfig):
    """Notes which of its fields are read once it is made."""

    def __getattribute__(self, name: str) -> Any:
        if name in FIELDS:
            object.__getattribute__(self, "__dict__").setdefault("reads", set()).add(name)
        return super().__getattribute__(name)


def reads(path: str, cls: Any, **more: Any) -> set[str]:
    args = tiny.config(Watched, **EVALUATED, save_strategy="steps", save_steps=1)
    args.__dict__["reads"] = names = set()
    trainer = cls(path, tiny.digits, args, tiny.prompts(), tiny.prompts(4), **more)
    trainer.args.__dict__["reads"] = names
    trainer.train()
    return names


def test_what_stock_reads_of_the_config_is_read_beside_an_objective_too(path: str) -> None:
    stock = reads(path, GRPOTrainer)
    for name in ("TRL's loss", "a loss of ours", "a reference"):
        assert stock - reads(path, EntropyGRPOTrainer, objective=OBJECTIVES[name]) == set()
    assert len(stock & set(STOCK)) > 60  # the run shows more than half of them


@pytest.mark.parametrize("form", [GRPOConfig, PPOConfig])
@pytest.mark.parametrize("name", OBJECTIVES)
def test_no_value_is_changed_but_those_that_the_objective_writes(form: Any, name: str) -> None:
    """A field at a time, at a value that is not its default."""
    control = as_control(OBJECTIVES[name])
    base = tiny.config(form, num_generations=4)
    written = owned_fields(control)
    for field in FIELDS.keys() - written.keys() - {"optim", "use_vllm", "use_liger_kernel", "deepspeed"}:
        args = copy.copy(base)
        value = another(getattr(args, field))
        setattr(args, field, value)
        if any(said.startswith(f"{field}: ") for said in without_effect(args, control)):
            continue
        assert getattr(configure(args, control), field) == value, field
        assert field not in IDLE["any"]


# ---------------------------------------------------------------------------------------------- fields that are refused


def another(value: Any) -> Any:
    """A value of the same kind that is no field's default."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return type(value)(value * 4 + 12)
    return "another"


IDLE_PAIRS = [
    ("a loss of ours", "loss"),
    ("TRL's loss", "advantages"),
    ("a reference", "reference"),
    ("a moving temperature", "temperature"),
    *((name, "any") for name in OBJECTIVES),
]


@pytest.mark.parametrize(("name", "part"), IDLE_PAIRS)
@pytest.mark.parametrize("form", [GRPOConfig, PPOConfig])
def test_an_idle_field_is_one_line_with_its_spelling(form: Any, name: str, part: str) -> None:
    control = as_control(OBJECTIVES[name])
    base = tiny.config(form, num_generations=4)
    assert list(without_effect(base, control)) == []
    for field in IDLE[part]:
        args = copy.copy(base)
        setattr(args, field, another(DEFAULTS[field]))
        (said,) = without_effect(args, control)
        assert said.startswith(f"{field}: {show(getattr(args, field))} would do nothing: ")
        assert "; use objective." in said if field in OWNED else REFUSED[field] in said
        with pytest.raises(ValueError, match=f"^{field}: "):
            configure(args, control)


def test_every_written_field_takes_its_default_and_what_is_written_and_nothing_else() -> None:
    spec = {
        "advantages": [{"grpo": {"scale": "batch"}}],
        "loss": {"trl": {"type": "grpo", "epsilon": 0.1, "delta": 3.0}},
    }
    control = as_control({**spec, "penalties": ["kl_ref"]})
    base, written = tiny.config(), owned_fields(control)
    assert {"loss_type", "epsilon", "delta", "scale_rewards", "beta"} <= written.keys()
    for field, value in written.items():
        for good in (DEFAULTS[field], value):
            args = copy.copy(base)
            setattr(args, field, good)
            assert getattr(configure(args, control), field) == value
        setattr(args, field, another(value))
        with pytest.raises(ValueError, match=rf"^{field}: .* would do nothing: .*; use objective\."):
            configure(args, control)
    assert getattr(configure(configure(base, control), control), "loss_type") == "grpo"  # noqa: B009


SPELLINGS = {
    "a loss of ours": {
        "epsilon": "objective.loss.ppo_clip.epsilon",
        "delta": "objective.loss.trl.delta",
        "loss_type": "objective.loss.ppo_clip.type",
        "top_entropy_quantile": "objective.weights.high_entropy.fraction",
        "beta": "objective.penalties.kl_ref.coef",
    },
    "TRL's loss": {
        "epsilon": "objective.loss.trl.epsilon",
        "multi_objective_aggregation": "objective.advantages: [gdpo: {}]",
        "scale_rewards": "objective.advantages.grpo.scale",
    },
    "a moving temperature": {"temperature": "objective.scalars.temperature"},
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_the_spelling_names_the_term_that_the_objective_has(name: str) -> None:
    control = as_control(OBJECTIVES[name])
    for field, spelling in SPELLINGS[name].items():
        args = tiny.config()
        setattr(args, field, another(DEFAULTS[field]))
        (said,) = without_effect(args, control)
        assert said.endswith(f"; use {spelling}")
