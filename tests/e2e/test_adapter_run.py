"""`model.path: <adapter>`: trained, resumed, finished, and gone on from."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file
from support import tiny
from support.run_files import rows

from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.build.models import load_model
from entropostat.trainers.run import run_recipe

REWARD = """
def digits(completion, example):
    text = str(completion)
    return sum(c in "01234" for c in text) / max(len(text), 1)
"""
SHORT = [
    *("model.build=null", "data.curriculum=[{source: easy, steps: 8}]", "reward=[{function: {path: 'judge:digits'}}]"),
    *("trainer.per_device_train_batch_size=16", "trainer.max_completion_length=8", "trainer.learning_rate=0.01"),
    *("trainer.save_strategy=steps", "trainer.save_steps=4"),
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], greedy: false, reference: true}",
]


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sft")
    base = tiny.saved()
    torch.manual_seed(3)
    lora = LoraConfig(task_type="CAUSAL_LM", r=2, target_modules="all-linear", init_lora_weights=False)
    get_peft_model(load_model(base, dtype="float32"), lora).save_pretrained(folder)
    return folder


def test_a_recipe_goes_on_from_an_adapter_and_from_what_it_made_of_it(
    adapter: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "judge.py").write_text(REWARD)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))

    def train(name: str, path: Path, resume: str | None = None) -> Path:
        words = [*SHORT, f"model.path={path}", f"name={name}", f"output_dir={tmp_path}"]
        assert run_recipe(load(RECIPES / "methods" / "kl_ref.yaml", words), allow_code=True, resume=resume) == 0
        return tmp_path / name

    whole = train("whole", adapter)
    logged = rows(whole)
    steps = [row for row in logged if "loss" in row]
    assert steps[0]["kl_ref/kl"] == 0.0 and steps[-1]["kl_ref/kl"] > 1e-6
    assert logged[0]["evaluate/easy/entropy_ratio"] == pytest.approx(1.0, abs=1e-6)

    shutil.copytree(whole, tmp_path / "cut", ignore=shutil.ignore_patterns("checkpoint-8", "final"))
    resumed = train("cut", adapter, resume="last")
    weights = [load_file(folder / "final" / "adapter_model.safetensors") for folder in (whole, resumed)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    again = [row["kl_ref/kl"] for row in rows(resumed) if "loss" in row]
    assert again == [row["kl_ref/kl"] for row in steps], "the reference is still the policy of the start"

    assert sorted(f.name for f in (whole / "final").iterdir() if f.is_dir()) == []
    onward = [row for row in rows(train("onward", whole / "final")) if "loss" in row]
    assert onward[0]["kl_ref/kl"] == 0.0 and onward[-1]["kl_ref/kl"] > 1e-6
