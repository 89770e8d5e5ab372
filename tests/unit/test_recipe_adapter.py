"""What `plan` says of an adapter as model.path, without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from entropostat.cli.plan import plan
from entropostat.recipe import RecipeError, load
from entropostat.recipe.adapter import lora, of_model
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.facts import extra_forwards
from entropostat.recipe.lints import lints
from entropostat.scaling import run, source
from entropostat.scaling.shape import UnknownShape
from entropostat.scaling.states import adapters, second_models

PLAIN = RECIPES / "quickstart" / "plain.yaml"
SHAPE = {
    "model_type": "qwen3",
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 32,
    "intermediate_size": 96,
    "vocab_size": 32,
}
LORA = {
    "peft_type": "LORA",
    "base_model_name_or_path": "../base",
    "r": 4,
    "lora_alpha": 8,
    "target_modules": ["q_proj"],
}
KL = "objective.penalties=[{kl_ref: {}}]"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "config.json").write_text(json.dumps(SHAPE))
    (tmp_path / "sft").mkdir()
    return tmp_path / "sft"


def recipe(folder: Path, *overrides: str, **changes: Any) -> Any:
    (folder / "adapter_config.json").write_text(json.dumps(LORA | changes))
    return load(PLAIN, ["model.build=null", f"model.path={folder}", *overrides])


def estimate(folder: Path, *overrides: str, **changes: Any) -> run.Run:
    loaded = recipe(folder, *overrides, **changes)
    return run.of_recipe(loaded, source.find(loaded)[0])


def test_the_adapter_is_what_is_trained_and_the_base_gives_the_shape(folder: Path) -> None:
    loaded = recipe(folder)
    assert source.find(loaded) == source.find(load(PLAIN, ["model.build=null", f"model.path={folder.parent / 'base'}"]))
    assert adapters(estimate(folder)) == 2 * 4 * (64 + 64)
    assert plan(loaded)["model"] == f"{folder} on ../base, float32, LoRA rank 4"
    assert not [lint for lint in lints(loaded, arithmetic(loaded)) if lint.level == "error"]


@pytest.mark.parametrize(
    ("said", "targets"),
    [
        ("all-linear", "all-linear"),
        (["model.layers.0.self_attn.q_proj", "model.layers.1.self_attn.q_proj"], ["q_proj"]),
        (r".*\.self_attn\.(q|v)_proj", ["q_proj", "v_proj"]),
    ],
)
def test_the_layers_of_an_adapter_are_counted_however_its_file_names_them(
    folder: Path, said: Any, targets: str | list[str]
) -> None:
    assert lora(recipe(folder, target_modules=said).model).target_modules == targets


def test_its_reference_is_a_copy_of_it_and_the_one_to_evaluate_a_model(folder: Path) -> None:
    loaded = recipe(folder, KL)
    assert "reference log-probs: a frozen copy of the adapter" in extra_forwards(loaded, arithmetic(loaded))
    own = estimate(folder, KL)
    items = {item.name: item.size for item in second_models(own)}
    assert items["reference"] == 4 * adapters(own)
    assert items["reference to evaluate"] == 4 * own.shape.parameters
    without = {item.name for item in second_models(estimate(folder, "evaluate.reference=false"))}
    assert not without


def test_what_holds_for_new_adapters_holds_for_it(folder: Path) -> None:
    def keys(*overrides: str) -> set[str]:
        loaded = recipe(folder, *overrides)
        return {lint.key for lint in lints(loaded, arithmetic(loaded))}

    assert "optimizer.muon" in keys("optimizer.muon={}")
    assert "model.dtype" not in keys("model.dtype=bfloat16")
    assert "critic.trunk" in keys("trainer.kind=ppo", "objective.advantages=[{gae: {}}]", "critic.trunk=separate")
    assert "reward.model.build" in keys("reward=[{chain: {weight: 0}}, {model: {build: {}}}]")


BROKEN: dict[str, tuple[dict[str, Any], str]] = {
    "kind": ({"peft_type": "PROMPT_TUNING"}, "is a PROMPT_TUNING adapter, and only LORA is supported; merge it"),
    "no base": ({"base_model_name_or_path": None}, "does not name the base of the adapter; write"),
    "no rank": ({"r": None}, "describes no LoRA of a rank r; save the adapter again"),
    "pattern": ({"target_modules": "(q_proj"}, "describes no LoRA"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_an_adapter_that_cannot_be_used_is_one_line(folder: Path, case: str) -> None:
    changes, message = BROKEN[case]
    with pytest.raises(RecipeError) as caught:
        recipe(folder, **changes)
    (problem,) = caught.value.problems
    assert problem.key == "model.path" and message in problem.message and "\n" not in str(problem)


def test_a_torn_file_and_a_folder_with_a_whole_model_beside_the_adapter_are_one_line(folder: Path) -> None:
    (folder / "adapter_config.json").write_text("{")
    with pytest.raises(RecipeError, match=r"model\.path: cannot read .*adapter_config\.json.*; save the adapter again"):
        load(PLAIN, ["model.build=null", f"model.path={folder}"])
    (folder / "model.safetensors").touch()
    with pytest.raises(RecipeError, match="holds a whole model and an adapter; put one of them into a folder"):
        recipe(folder)


def test_a_new_adapter_on_an_adapter_is_refused(folder: Path) -> None:
    with pytest.raises(
        RecipeError, match=r"model\.peft: .* is an adapter already, .*; leave model\.peft out, or merge"
    ):
        recipe(folder, "model.peft={r: 8}")


@pytest.mark.parametrize("base", ["/nowhere/base", "../gone", "a/b/c", "~/gone"])
def test_a_base_that_is_not_there_is_one_line(folder: Path, base: str) -> None:
    loaded = recipe(folder, base_model_name_or_path=base)
    (lint,) = [lint for lint in lints(loaded, arithmetic(loaded)) if lint.key == "model.path"]
    assert lint.level == "error" and f"there is no model in {base}" in lint.message
    assert lint.fix == f"correct base_model_name_or_path in {folder / 'adapter_config.json'}"
    with pytest.raises(UnknownShape, match="there is no model in"):
        source.find(loaded)


def test_a_base_that_is_an_adapter_itself_is_refused(folder: Path) -> None:
    with pytest.raises(UnknownShape, match=r"has another adapter, .*, as its base; merge that"):
        source.find(recipe(folder, base_model_name_or_path="../sft"))


def test_a_base_on_the_hub_is_no_mistake(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "cache"))
    loaded = recipe(folder, base_model_name_or_path="someone/a-base")
    adapter = of_model(loaded.model)
    assert adapter is not None and adapter.base == "someone/a-base"
    assert not [lint for lint in lints(loaded, arithmetic(loaded)) if lint.level == "error"]


def test_plan_imports_no_torch_for_an_adapter(folder: Path) -> None:
    recipe(folder)
    words = ["plan", str(PLAIN), "model.build=null", f"model.path={folder}"]
    code = f"import sys; from entropostat.__main__ import main; assert main({words}) == 0; assert 'torch' not in sys.modules"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, text=True)
    assert done.returncode == 0, done.stderr
    assert "LoRA rank 4" in done.stdout
