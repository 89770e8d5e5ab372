"""A recipe that samples by vLLM: trained, evaluated by the engine, drawn and diagnosed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from support.run_files import rows, step_rows
from vllm_engine.shared import LENGTH, policy

from entropostat.__main__ import main
from entropostat.dashboard.chosen import of_recipe
from entropostat.diagnose import examine
from entropostat.readers.run_folder import Run
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers import run
from entropostat.trainers.run import run_recipe

PLAIN = str(RECIPES / "quickstart" / "plain.yaml")
WORDS = [
    *("model.build=null", "trainer.per_device_train_batch_size=16", "trainer.steps_per_generation=1"),
    *("trainer.max_completion_length=6", "trainer.learning_rate=0.005", "trainer.use_vllm=true"),
    f"trainer.vllm_max_model_length={LENGTH}",
    "evaluate={every: 4, prompts: 5, samples: 3, k: [1, 3], reference: true, temperature: 0.9}",
]
KINDS = {
    "grpo": ("data.curriculum=[{source: easy, steps: 8}]",),
    "lora": ("data.curriculum=[{source: easy, steps: 4}]", "model.peft={r: 2}"),
    "ppo": (
        "data.curriculum=[{source: easy, steps: 4}]", "trainer.kind=ppo", "trainer.num_generations=1",
        "objective.advantages=[gae: {}]",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("runs")
    shutil.move(policy(), made / "base")
    return made


def words_of(kind: str, folder: Path, *more: str) -> list[str]:
    return [
        *WORDS,
        *KINDS[kind],
        f"model.path={folder / 'base'}",
        f"output_dir={folder / 'runs'}",
        f"name={kind}",
        *more,
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_trains_and_is_evaluated_by_the_engine_in_training_and_alone(
    kind: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, asked = words_of(kind, folder), asked_of_the_engine(monkeypatch)
    assert run_recipe(load(PLAIN, words)) == 0
    logged = step_rows(folder / "runs" / kind)
    assert max(row["sampling/sampling_logp_difference/mean"] for row in logged) < 0.01
    panels = {metric.key for metric in of_recipe(load(PLAIN, words)).metrics}
    said = {key for row in logged for key in row if key.startswith("sampling/")}
    assert len(said) == 5 and {*said, "trust/sampler_gap"} <= panels
    assert {0.9, 0.0} < set(asked) and set(asked) == {1.0, 0.9, 0.0}, "training's, the block's, and greedy"
    evaluated = [row for row in rows(folder / "runs" / kind) if "evaluate/easy/entropy" in row]
    assert [row["step"] for row in evaluated] == list(range(0, len(logged) + 1, 4))
    entropies = [row["evaluate/easy/entropy"] for row in evaluated]
    assert evaluated[0]["evaluate/easy/entropy_ratio"] == pytest.approx(1, abs=1e-3) and len(set(entropies)) > 1
    final, out = folder / "runs" / kind / "final", folder / f"{kind}.json"
    asked.clear()
    assert main(["evaluate", PLAIN, *words, "--model", str(final), "--out", str(out)]) == 0
    (alone,) = json.loads(out.read_text())
    assert alone["by"] == "vLLM" and set(asked) == {0.9, 0.0}
    assert alone["metrics"]["evaluate/easy/entropy"] == pytest.approx(entropies[-1], abs=0.3)


def asked_of_the_engine(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Temperatures, in their order."""
    from trl.generation.vllm_generation import VLLMGeneration

    asked, generate = [], VLLMGeneration.generate
    monkeypatch.setattr(
        VLLMGeneration, "generate", lambda self, *a, **k: asked.append(self.temperature) or generate(self, *a, **k)
    )
    return asked


@pytest.mark.parametrize("left_out", [False, True])
def test_diagnose_finds_the_weights_that_were_not_sent_and_only_those(
    folder: Path, left_out: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The engine keeps the weights of the start, as a server does that is never told of new ones."""
    prepare = run.prepare

    def prepared(*args: Any) -> Any:
        trainer, evaluation = prepare(*args)
        send = trainer.vllm_generation.sync_weights
        stale = lambda: None if trainer.state.global_step >= 12 and left_out else send()
        trainer.vllm_generation.sync_weights = stale
        return trainer, evaluation

    monkeypatch.setattr(run, "prepare", prepared)
    name = f"name=stale-{left_out}"
    words = [*words_of("grpo", folder, "data.curriculum=[{source: easy, steps: 40}]", "evaluate.every=0", name)]
    assert run_recipe(load(PLAIN, words)) == 0
    found = [one for one in examine(Run.read(folder / "runs" / name[5:])) if one.rule == "sampler-mismatch"]
    assert bool(found) == left_out
    if left_out:
        assert found[0].steps[0] >= 12 and "stale" in found[0].cause
