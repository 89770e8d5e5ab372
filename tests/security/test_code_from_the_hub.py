"""Attention kernels from the Hub are code: a recipe's needs --allow-code, and one that a model's own folder asks for never runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from support import tiny

from entropostat.cli.plan import plan
from entropostat.faults import SetupError
from entropostat.recipe import foreign_code, load
from entropostat.recipe.foreign_code import check_code, foreign
from entropostat.trainers.build.models import load_model
from entropostat.trainers.run import run_recipe

RECIPE = "recipes/methods/kl_ref.yaml"
KERNELS = ("kernels-community/flash-attn2", "evil/kernel", "evil/kernel@main", "evil/kernel:forward", "a/b@c:d")


@pytest.mark.parametrize("kernel", KERNELS)
def test_a_kernel_from_the_hub_trains_with_allow_code_alone(kernel: str, tmp_path: Path) -> None:
    recipe = load(RECIPE, [f"model.attn_implementation='{kernel}'", f"output_dir={tmp_path}"])
    with pytest.raises(SetupError, match=r"model\.attn_implementation: .* is a kernel from the Hub.*--allow-code"):
        run_recipe(recipe)
    assert list(tmp_path.iterdir()) == []
    check_code(recipe, allow_code=True)
    said = [lint for lint in plan(recipe)["lints"] if lint["key"] == "model.attn_implementation"]
    assert [lint["fix"] for lint in said] == ["train with --allow-code"]


def test_what_transformers_would_fetch_without_a_word_is_code_too(monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = load(RECIPE, ["model.attn_implementation=flash_attention_2"])
    installed = {"kernels"}
    monkeypatch.setattr(foreign_code, "find_spec", lambda name: name if name in installed else None)
    with pytest.raises(
        PermissionError, match="flash_attention_2 without the package flash_attn is a kernel from the Hub"
    ):
        check_code(recipe, allow_code=False)
    installed.add("flash_attn")
    check_code(recipe, allow_code=False)
    installed.clear()  # then transformers says what is missing
    check_code(recipe, allow_code=False)


def test_what_packages_bring_needs_no_word() -> None:
    for name in ("eager", "sdpa", "flex_attention", "null"):
        assert list(foreign(load(RECIPE, [f"model.attn_implementation={name}"]))) == []


@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation"])
def test_a_models_own_folder_cannot_ask_for_a_kernel(key: str, tmp_path: Path) -> None:
    shutil.copytree(tiny.saved(), tmp_path / "model")
    file = tmp_path / "model/config.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), key: "kernels-community/flash-attn2"}))
    for own in (None, "sdpa"):  # transformers takes the file's word even then
        with pytest.raises(
            ValueError, match=r"config\.json asks for the attention kernel kernels-community/flash-attn2"
        ):
            load_model(tmp_path / "model", attn_implementation=own)
