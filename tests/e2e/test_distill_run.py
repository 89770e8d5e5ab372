"""A recipe that distils and has no reward: trained, resumed, and refused where the teacher speaks another language."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import tiny

from entropostat.__main__ import main
from entropostat.recipe import load
from entropostat.trainers.build.models import load_tokenizer
from entropostat.trainers.build.policy import find_model
from entropostat.trainers.build.teacher import load_teacher

NONE = "entropostat:methods/none.yaml"
SHORT = [
    "model.build.steps=5",
    "teacher.build.steps=5",
    "reward=null",
    "data.curriculum=[{source: easy, steps: 4}]",
    "trainer={per_device_train_batch_size: 8, save_strategy: steps, save_steps: 2}",
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], reference: false}",
]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Policy and teacher are built once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "distill-cache"))


def test_without_a_reward_it_trains_evaluates_and_goes_on_from_a_checkpoint(tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    words = ["train", NONE, *SHORT, f"output_dir={tmp_path}"]
    assert main(words) == 0
    run = tmp_path / "none"
    whole = load_file(run / "final" / "model.safetensors")
    assert main([*words, "--resume", str(run / "checkpoint-2")]) == 0
    again = load_file(run / "final" / "model.safetensors")
    torch.set_num_threads(threads)
    assert all(torch.equal(whole[name], again[name]) for name in whole)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert any(row.get("distill/divergence", 0) > 0 for row in rows)
    assert any("evaluate/easy/entropy" in row and "evaluate/easy/pass@1" not in row for row in rows)


def test_a_teacher_with_another_tokenizer_is_refused_in_one_line_before_training(tmp_path: Path) -> None:
    other = tiny.saved()
    recipe = load(NONE, [*SHORT, f"teacher={{path: {other}, build: null}}"])
    policy = load_tokenizer(find_model(recipe))
    with pytest.raises(
        ValueError, match=r"teacher\.path: .* has another tokenizer than the policy: token .* teacher's;"
    ) as e:
        load_teacher(recipe, policy)
    assert "\n" not in str(e.value)


def test_a_teacher_that_nobody_reads_is_not_loaded() -> None:
    recipe = load(NONE, ["teacher={path: gone, build: null}", "objective.penalties=[kl_ref: {}]"])
    assert load_teacher(recipe, None) is None  # type: ignore[arg-type]
