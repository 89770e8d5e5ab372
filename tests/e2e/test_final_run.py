"""A run with an adapter from its start to the Hub: final/ with its card, merged/ beside it, TensorBoard's files."""

from __future__ import annotations

import importlib.util
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from huggingface_hub import ModelCard
from support import tiny
from support.run_files import rows
from transformers import AutoModelForCausalLM
from trl import GRPOTrainer

from entropostat.__main__ import main
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers import run as running
from entropostat.trainers.build import merge as merging
from entropostat.trainers.records import hub

SHORT = [
    *("model.build=null", "model.peft={r: 4, modules_to_save: [lm_head], merge: true}"),
    *("data.curriculum=[{source: easy, steps: 2}]", "reward=[{chain: {}}]", "trainer.per_device_train_batch_size=16"),
    *("trainer.max_completion_length=8", "trainer.learning_rate=0.05", "trainer.save_strategy=steps"),
    *("trainer.save_steps=1", "trainer.push_to_hub=true", "trainer.hub_model_id=ada/mine"),
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], greedy: false}",
]
TENSORBOARD = importlib.util.find_spec("tensorboard") is not None


class Hub:
    """Takes what is uploaded, or is gone."""

    kept: Path | None = None

    def __init__(self, token: str | None = None) -> None:
        pass

    def create_repo(self, name: str, **_: Any) -> Any:
        return SimpleNamespace(repo_id=name)

    def upload_folder(self, *, folder_path: str, **_: Any) -> None:
        if self.kept is None:
            raise ConnectionError("no route")
        shutil.copytree(folder_path, self.kept)


def train(folder: Path, monkeypatch: pytest.MonkeyPatch, name: str, *words: str) -> Path:
    monkeypatch.setattr(hub, "HfApi", Hub)
    monkeypatch.setattr(running, "check_hub", lambda config: None)
    monkeypatch.setattr(GRPOTrainer, "init_hf_repo", lambda self, **_: setattr(self, "hub_model_id", "ada/mine"))
    recipe = load(
        RECIPES / "quickstart" / "plain.yaml",
        [*SHORT, *words, f"model.path={tiny.saved()}", f"name={name}", f"output_dir={folder}"],
    )
    assert running.run_recipe(recipe) == 0
    return folder / name


def test_what_a_run_leaves_and_sends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Hub, "kept", tmp_path / "uploaded")
    run = train(tmp_path, monkeypatch, "whole", *(["tracking.tensorboard={}"] if TENSORBOARD else []))
    names = lambda folder: {str(f.relative_to(folder)) for f in folder.rglob("*")}
    assert names(tmp_path / "uploaded") == names(run / "final")
    assert "training_args.bin" not in names(run / "final") and not (run / "README.md").exists()

    card = ModelCard.load(run / "final" / "README.md")
    assert "lora" in card.data.tags and str(tmp_path) not in card.content and "evaluate/easy/pass@1" in card.content
    assert f"| entropy | {[row for row in rows(run) if 'loss' in row][-1]['entropy']:.4g} |" in card.content

    merged, opened = (AutoModelForCausalLM.from_pretrained(run / name).eval() for name in ("merged", "final"))
    ids = torch.tensor([[3, 4, 5, 13]])
    torch.testing.assert_close(merged(ids).logits, opened(ids).logits, atol=1e-4, rtol=0)

    if not TENSORBOARD:
        print("tensorboard is not installed: its files are not looked at")
        return
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    logged = {key for row in rows(run) for key, value in row.items() if isinstance(value, int | float)} - {"step"}
    assert set(events.Tags()["scalars"]) == {key if key.startswith("profiling/") else f"train/{key}" for key in logged}
    entropies = [(row["step"], row["entropy"]) for row in rows(run) if "entropy" in row]
    seen = [(event.step, event.value) for event in events.Scalars("train/entropy")]
    assert [step for step, _ in seen] == [step for step, _ in entropies]
    assert [value for _, value in seen] == pytest.approx([value for _, value in entropies])


def test_neither_the_hub_nor_merging_costs_the_policy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Hub, "kept", None)
    monkeypatch.setattr(merging.sys, "executable", shutil.which("false"))
    run = train(tmp_path, monkeypatch, "poor")
    said = capsys.readouterr().err
    assert (run / "final" / "adapter_model.safetensors").is_file() and not (run / "merged").exists()
    assert f"merged was not written: exit code 1. final/ has the adapter; by hand: entropostat merge {run}" in said
    assert f"final/ was not uploaded: no route. It is whole in {run}/final; by hand: hf upload ada/mine" in said
    assert json.loads((run / "summary.json").read_text())["finished"] is True

    shutil.rmtree(json.loads((run / "final" / "adapter_config.json").read_text())["base_model_name_or_path"])
    assert main(["merge", str(run)]) == 2
    said = capsys.readouterr().err
    assert "there is no model in" in said and "the base of the adapter" in said
    assert main(["merge", str(tmp_path)]) == 2
    assert "has no final/; it comes when a run has finished" in capsys.readouterr().err
