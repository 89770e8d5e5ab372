"""A run whose reference follows the policy, by the way that `entropostat train` takes, over two stages of data."""

from __future__ import annotations

from pathlib import Path

import pytest
from support import run_files

from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.run import run_recipe

SHORT = [
    "model.build.steps=20",
    "data.curriculum=[{source: easy, steps: 4}, {source: hard, steps: 4}]",
    "trainer.per_device_train_batch_size=16",
    "evaluate={every: 4, prompts: 8, samples: 2, k: [1], reference: true}",
]


def test_entropy_is_compared_with_the_initial_policy_though_the_reference_follows(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With so short a memory the reference is the policy itself, and has its entropy."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    moving = "objective.penalties.+entropy_bonus.coef=-1"  # whatever the answers, which so young a policy has all wrong
    changes = ["objective.penalties.kl_ref.decay=1.0e-6", moving, f"output_dir={tmp_path}"]
    recipe = load(RECIPES / "methods" / "kl_ema.yaml", [*SHORT, *changes])
    assert run_recipe(recipe) == 0
    rows = run_files.rows(recipe.run_dir)
    ratios = [row["evaluate/hard/entropy_ratio"] for row in rows if "evaluate/hard/entropy_ratio" in row]
    assert ratios[0] == pytest.approx(1.0, abs=1e-6)
    assert len(ratios) == 3 and all(abs(ratio - 1) > 1e-3 for ratio in ratios[1:])
    shares = [row["anchor/initial_share"] for row in rows if "loss" in row]
    assert shares == pytest.approx([1e-6**n for n in range(1, 9)])


def test_a_run_that_does_not_improve_resets_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a learning rate of 0 the second evaluation gives what the first gave: no new best."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    changes = ["objective.penalties.kl_ref.patience=1", "trainer.learning_rate=0.0", f"output_dir={tmp_path}"]
    recipe = load(RECIPES / "methods" / "kl_reset.yaml", [*SHORT, *changes])
    assert run_recipe(recipe) == 0
    rows = run_files.rows(recipe.run_dir)
    assert [row["anchor/resets"] for row in rows if "loss" in row] == [0, 0, 0, 0, 1, 1, 1, 1]
