"""`model.load_in_4bit`: what bitsandbytes is asked for, and where it is refused in one line."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peft import LoraConfig
from support import tiny
from trl import ModelConfig
from trl.trainer.utils import get_quantization_config

from entropostat.cli.plan import plan
from entropostat.recipe import RecipeError, load
from entropostat.recipe.adapter import lora
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.lints import lints
from entropostat.recipe.lints import machine as machines
from entropostat.scaling import run as scaling
from entropostat.scaling.presets import PRESETS
from entropostat.scaling.states import IN_4_BITS, adapters, weights
from entropostat.trainers.build import policy

PLAIN = RECIPES / "quickstart" / "plain.yaml"
QLORA = "model={load_in_4bit: true, peft: {r: 8}}"


@pytest.mark.parametrize("kind", ["nf4", "fp4"])
def test_it_asks_for_what_trl_asks_for(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(policy, "find_spec", lambda name: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    words = [QLORA, "model.dtype=bfloat16", f"model.bnb_4bit_quant_type={kind}", "model.use_bnb_nested_quant=true"]
    ours = policy.quantization(load(PLAIN, words))
    theirs = get_quantization_config(
        ModelConfig(load_in_4bit=True, dtype="bfloat16", bnb_4bit_quant_type=kind, use_bnb_nested_quant=True)
    )
    assert ours.to_dict() == theirs.to_dict() and ours.load_in_4bit
    assert policy.quantization(load(PLAIN, [])) is None


def test_without_the_package_or_a_gpu_it_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(PLAIN, [QLORA])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(policy, "find_spec", lambda name: None)
    with pytest.raises(
        ImportError, match=r"load_in_4bit: true needs the package bitsandbytes: pip install 'entropostat\["
    ):
        policy.quantization(recipe)
    monkeypatch.setattr(policy, "find_spec", lambda name: True)
    with pytest.raises(RuntimeError, match=r"model\.load_in_4bit: true needs a GPU"):
        policy.quantization(recipe)


def test_plan_notes_what_this_machine_lacks(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(PLAIN, [QLORA])
    monkeypatch.setattr(machines, "visible_gpus", lambda: 0)
    noted = lints(recipe, arithmetic(recipe), machines.TRAIN)
    assert ("note", "model.load_in_4bit") in {(lint.level, lint.key) for lint in noted}
    monkeypatch.setattr(machines, "visible_gpus", lambda: 1)
    assert not [lint for lint in lints(recipe, arithmetic(recipe), machines.TRAIN) if "GPUs" in lint.message]
    assert plan(recipe)["model"].endswith(", float32, 4 bits, LoRA rank 8")


def test_the_memory_of_packed_weights() -> None:
    shape = PRESETS["qwen2.5-7b"].shape
    whole, packed = (
        sum(item.size for item in weights(scaling.of_recipe(load(PLAIN, [words, "model.dtype=bfloat16"]), shape)))
        for words in ("model.peft={r: 8}", QLORA)
    )
    assert whole - packed == pytest.approx(shape.layers * shape.matrices * (2 - IN_4_BITS))


def test_modules_to_save_and_patterns_are_counted() -> None:
    shape = PRESETS["qwen2.5-7b"].shape

    def count(peft: str) -> int:
        return adapters(scaling.of_recipe(load(PLAIN, [f"model.peft={peft}"]), shape))

    assert count("{r: 8, modules_to_save: [lm_head]}") == count("{r: 8}") + shape.table
    assert count(r"{r: 8, target_modules: '.*\.(q|v)_proj'}") == count("{r: 8, target_modules: [q_proj, v_proj]}")
    trained = lora(load(PLAIN, [r"model.peft={target_modules: '.*\.down_proj'}"]).model)
    assert trained is not None and trained.target_modules == ["down_proj"]


@pytest.mark.parametrize(
    ("peft", "said"),
    [
        ("{target_modules: '(q_proj'}", "must be all-linear, a list of names or a regex (missing ), "),
        ("{target_modules: []}", "must name a layer, or be left out for all linear ones, not []"),
        ("{init_lora_weights: pissa}", "must be true, gaussian or orthogonal, by which"),
        ("{init_lora_weights: false}", "the base keeps its weights, not false"),
        ("{modules_to_save: lm_head}", "must be a list"),
        ("{bias: all}", "unknown key 'bias'"),
    ],
)
def test_what_peft_could_not_use_is_one_line(peft: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        load(PLAIN, [f"model.peft={peft}"])
    assert said in str(caught.value) and len(str(caught.value).splitlines()) == 1


def test_every_field_goes_to_peft_by_its_name() -> None:
    words = "{r: 4, lora_alpha: 6, modules_to_save: [lm_head], use_rslora: true, use_dora: true, init_lora_weights: gaussian}"
    recipe = load(PLAIN, [f"model.peft={words}"])
    config = policy.peft_config(recipe)
    assert isinstance(config, LoraConfig)
    given = recipe.model.peft.model_dump(exclude={"merge"})
    assert {key: getattr(config, key) for key in given} == given


def test_a_module_that_is_not_there_is_named() -> None:
    recipe = load(PLAIN, ["model.peft={modules_to_save: [lm_haed]}"])
    with pytest.raises(
        ValueError, match=r"modules_to_save: no module's name ends in 'lm_haed'; did you mean 'lm_head'\?"
    ):
        policy.check_modules(recipe, tiny.model())
    policy.check_modules(load(PLAIN, ["model.peft={modules_to_save: [lm_head, model.embed_tokens]}"]), tiny.model())


def test_a_run_that_goes_on_may_begin_to_merge(tmp_path: Path) -> None:
    from entropostat.recipe.resume import fingerprint

    with_merge, without = (load(PLAIN, [f"model.peft={{merge: {word}}}"]) for word in ("true", "false"))
    assert fingerprint(with_merge, 1) == fingerprint(without, 1)
    assert fingerprint(with_merge, 1) != fingerprint(load(PLAIN, ["model.peft={r: 3}"]), 1)
