"""The RLHF pair as a user runs it, cut short: one reward model for both, the true score beside the learned one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support import run_files
from support.declared import undeclared

ROOT = Path(__file__).parents[2]
PAIR = [str(ROOT / "recipes" / "quickstart" / name) for name in ("rlhf-grpo.yaml", "rlhf-ppo.yaml")]
SHORT = [
    "model.build.steps=60",
    "reward.model.build={pairs: 96, epochs: 1, batch: 32}",
    "data.curriculum=[{source: hard, steps: 4}]",
    "trainer.per_device_train_batch_size=16",
    "trainer.save_strategy=steps",
    "trainer.save_steps=4",
    "shaping={normalise: true, clip: 2.0, missing_eos_penalty: 0.5}",
    "evaluate={every: 0, prompts: 4, samples: 4, k: [1, 4], reference: true}",
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory: Any) -> dict[str, list[dict[str, Any]]]:
    folder = tmp_path_factory.mktemp("rlhf")
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "entropostat", "train", *PAIR, f"output_dir={folder}", *SHORT],
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True, check=False, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stderr.count("built the reward model") == 1  # the second run waits for the first and finds it
    assert len([x for x in (folder / "cache" / "entropostat" / "rewards").iterdir() if x.is_dir()]) == 1
    assert "hard/reward/model" in done.stdout and "hard/pass@1" in done.stdout
    names = ("rlhf-grpo", "rlhf-ppo")
    for name in names:
        assert not undeclared(folder / name), "logged, but not declared in entropostat/metrics"
    return {n: run_files.rows(folder / n) for n in names}


def test_the_model_alone_is_trained_on_and_the_verifier_looks_on(runs: dict[str, list[dict[str, Any]]]) -> None:
    for rows in runs.values():
        (generation,) = [row for row in rows if "rewards/model/mean" in row]
        assert generation["reward"] == pytest.approx(generation["rewards/model/mean"], abs=1e-6)
        assert 0 <= generation["rewards/chain/mean"] <= 1
        assert generation["verifier/model/errors"] == generation["verifier/model/truncated"] == 0
        assert generation["shaping/raw"] == pytest.approx(generation["reward"], abs=1e-5)
        assert abs(generation["shaping/shaped"] - generation["shaping/raw"]) > 1e-3
        assert {"shaping/clipped", "shaping/missing_eos"} <= set(generation)
        assert sum("loss" in row for row in rows) == 4


def test_both_runs_are_measured_by_the_same_judge_and_the_same_model(runs: dict[str, list[dict[str, Any]]]) -> None:
    starts = []
    for rows in runs.values():
        probes = [row for row in rows if "evaluate/hard/pass@1" in row]
        assert [probe["step"] for probe in probes] == [0, 4]
        starts.append([probes[0][f"evaluate/hard/{key}"] for key in ("reward/model", "pass@1", "pass@4", "entropy")])
        assert probes[0]["evaluate/hard/reward/model"] != probes[1]["evaluate/hard/reward/model"]
    assert starts[0] == starts[1]
