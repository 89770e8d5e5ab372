"""Keys of other programs in a recipe: each is told where it lives here, and that place exists."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from pydantic import BaseModel
from trl import GRPOConfig, ModelConfig
from trl.scripts.grpo import GRPOScriptArguments
from trl.scripts.utils import DatasetMixtureConfig, ScriptArguments

from entropostat.catalog import load as catalog
from entropostat.recipe import RecipeError, load
from entropostat.recipe.blocks import BLOCKS
from entropostat.recipe.check import ROOT
from entropostat.recipe.errors import NAMED, NEAREST, nearest
from entropostat.recipe.explain import known_keys
from entropostat.recipe.foreign_keys import NOWHERE, PLACES, foreign
from entropostat.recipe.forms import term_form, trainer_form
from entropostat.recipe.machine_blocks import Slurm
from entropostat.recipe.owned import FORMER, NOT_IN_TRAINER, OWNED, REFUSED

GOOD = """\
model: {build: {}}
data: {sources: {easy: {chain: {length: 2}}}}
reward: [chain: {}]
"""
TRL = (GRPOConfig, ModelConfig, ScriptArguments, GRPOScriptArguments, DatasetMixtureConfig)
TRAINER = set(trainer_form("grpo", NOT_IN_TRAINER).model_fields)
ASKED = (
    *("torch_dtype", "max_prompt_length", "lora_r", "load_in_4bit", "lora_target_modules", "dataset_name"),
    *("reward_funcs", "beta", "kl_coef", "num_train_epochs"),
)


def complaint(folder: Any, *overrides: str) -> str:
    with pytest.raises(RecipeError) as caught:
        load(folder / "good.yaml", overrides)
    return str(caught.value)


def keys_of(slot: str, kind: str) -> set[str]:
    return set(term_form(catalog().terms[slot][kind]).model_fields)


def exists(place: str) -> bool:
    """Whether a recipe can hold a value there."""
    if place.startswith("entropostat "):
        return True
    block, *below = place.split(".")
    if block == "trainer":
        return not below or below[0] in TRAINER
    if block == "objective":
        slot, *term = below or ["loss"]
        return (
            slot in catalog().terms
            and (not term or term[0] in catalog().terms[slot])
            and (len(term) < 2 or term[1] in keys_of(slot, term[0]))
        )
    if block == "reward":
        return not below or (len(below) < 2 or below[1] in keys_of("verifiers", below[0]))
    if place.startswith("data.sources.<name>."):
        kind, key = below[2:4] if len(below) > 3 else (below[2], "path")
        return key in keys_of("sources", kind)
    if block not in BLOCKS:
        return block in ROOT and not below
    form: type[BaseModel] = BLOCKS[block]
    return all(key in known_keys(form, tuple(below[:depth])) for depth, key in enumerate(below))


@pytest.mark.parametrize("key", PLACES)
def test_every_place_can_be_written(key: str) -> None:
    assert exists(PLACES[key][0]), PLACES[key]
    for named in re.findall(
        r"\b(?:model|slurm|launch|tracking|trainer|evaluate|critic|data)\.[\w.]*\w", PLACES[key][1]
    ):
        assert exists(named) or "*" in PLACES[key][1], named
    for block in (BLOCKS["slurm"], BLOCKS["model"]):
        assert key in TRAINER or key not in block.model_fields or PLACES[key][0].endswith(key)


def test_a_place_that_is_none_is_seen() -> None:
    assert not exists("model.peft.rank") and not exists("trainer.beta") and not exists("objective.loss.trl.clip")
    assert not exists("nowhere") and not exists("data.sources.<name>.hub.column")


def test_no_key_has_two_answers() -> None:
    assert not PLACES.keys() & NOWHERE.keys()
    assert not PLACES.keys() & OWNED.keys() - {"disable_dropout"} and not PLACES.keys() & REFUSED.keys()
    assert not PLACES.keys() & (FORMER.keys() - {"kl_coef", "cliprange_value"})
    assert PLACES["cliprange_value"][0] == FORMER["cliprange_value"]  # verl's critic and TRL's former PPO mean the same
    assert not (PLACES.keys() | NOWHERE.keys()) & TRAINER


@pytest.mark.parametrize("form", TRL)
def test_every_field_of_trls_forms_is_taken_or_has_an_answer(form: Any) -> None:
    for field in dataclasses.fields(form):
        answered = foreign(field.name) or OWNED.get(field.name) or REFUSED.get(field.name)
        assert field.name in TRAINER or answered, field.name


@pytest.mark.parametrize("key", sorted({*ASKED, *PLACES, *NOWHERE}))
def test_a_foreign_key_is_answered_at_the_root_and_in_the_trainer_block(folder: Any, key: str) -> None:
    for path in (key, f"trainer.{key}"):
        if path in TRAINER or path in ROOT or (path == f"trainer.{key}" and key in TRAINER):
            continue
        said = complaint(folder, f"{path}=3")
        assert " use " in said or "there is no such key here: " in said or "cannot be set" in said, said
        assert len(said.splitlines()) == 1 and "nearest of" not in said and "known:" not in said


def test_what_is_asked_for_most(folder: Any) -> None:
    assert complaint(folder, "trainer.lora_r=8") == (
        "command line: trainer.lora_r: unknown key 'lora_r' (value 8); use model.peft.r: model.peft: {} turns LoRA on"
    )
    assert "use model.dtype" in complaint(folder, "model.torch_dtype=bfloat16")
    assert "use objective.penalties.kl_ref.coef" in complaint(folder, "trainer.beta=0.1")
    assert "a prompt is never cut" in complaint(folder, "data.max_prompt_length=512")
    assert "use trainer.num_train_epochs" in complaint(folder, "num_train_epochs=2")
    assert "use trainer.learning_rate" in complaint(folder, "model.learning_rate=2")
    assert "use data.sources: such as" in complaint(folder, "dataset_name=org/name")


def test_a_term_has_keys_of_its_own(folder: Any) -> None:
    assert "known: " in complaint(folder, "objective.penalties=[{kl_ref: {train_files: 3}}]")


@pytest.mark.parametrize("block", ["trainer", "slurm"])
def test_of_many_keys_the_nearest_five_are_told(folder: Any, block: str) -> None:
    said = complaint(folder, f"{block}.zzzzzz=3")
    if block == "trainer" or len(Slurm.model_fields) > NAMED:
        assert len(said.rpartition(": ")[2].split(", ")) == NEAREST


def test_a_word_that_is_meant_is_near() -> None:
    told = nearest("size_of_my_batch", TRAINER)
    assert {"generation_batch_size", "per_device_train_batch_size"} <= set(told.rpartition(": ")[2].split(", "))
    assert "zz" * 400 not in nearest("zz" * 400, TRAINER)
