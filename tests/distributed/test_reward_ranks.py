"""A reward model is whole on every rank, and all ranks shape by the same moments."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from support import ranks, tiny
from transformers import Qwen2Config, Qwen2ForSequenceClassification

WORKER = Path(__file__).with_name("reward_ranks.py")
SILENT = Path(__file__).with_name("silent_ranks.py")
ENGINES = {"ddp-cpu": ("DistributedDataParallel", None), "zero3": ("DeepSpeedEngine", 3)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    folder = tmp_path_factory.mktemp("reward")
    torch.manual_seed(3)
    shape = {"hidden_size": 16, "intermediate_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    size = len(tiny.CHARACTERS) + 3
    config = Qwen2Config(**shape, num_key_value_heads=2, vocab_size=size, num_labels=1, pad_token_id=0, eos_token_id=1)
    model = Qwen2ForSequenceClassification(config)
    with torch.no_grad():
        model.score.weight.mul_(20)
    model.save_pretrained(folder)
    tiny.tokenizer().save_pretrained(folder)
    return tiny.saved(), str(folder)


def run(models: tuple[str, str], folder: Path, strategy: str) -> list[dict[str, Any]]:
    """What each rank wrote."""
    where = {} if strategy == "single" else {"strategy": strategy, "world": 2}
    ranks.run(WORKER, *models, folder / strategy, **where)
    return [json.loads(file.read_text()) for file in sorted(folder.glob(f"{strategy}-*.json"))]


@pytest.mark.parametrize("strategy", ["ddp-cpu", "zero3"])
def test_two_processes_score_alone_and_count_together(models: tuple[str, str], tmp_path: Path, strategy: str) -> None:
    (one,) = run(models, tmp_path, "single")
    two = run(models, tmp_path, strategy)
    assert [(rank["world"], rank["engine"], rank["stage"]) for rank in two] == [(2, *ENGINES[strategy])] * 2
    assert all(rank["policy_cut"] == (strategy == "zero3") and rank["whole"] for rank in two)
    for rank in two:
        assert rank["scores"] == pytest.approx(one["scores"], abs=1e-6) and len(set(rank["scores"])) == 4

    first, second = two
    assert first["moments"] == second["moments"] != one["moments"]
    assert first["raw"] == second["raw"]
    for everything, a, b in zip(first["raw"], first["mine"], second["mine"], strict=True):
        assert everything == [*a, *b] and a != b
    values = torch.tensor([x for row in first["raw"] for x in row], dtype=torch.float64)
    assert first["moments"]["count"] == pytest.approx(len(values), abs=1e-3) and len(values) == 32
    assert first["moments"]["mean"] == pytest.approx(float(values.mean()), rel=1e-4)
    assert first["logged"] == pytest.approx([sum(row) / len(row) for row in first["raw"]], abs=1e-5)

    # The last generation, by the moments after it: what is left is the penalty, on whichever rank the completion is.
    mean, deviation = first["moments"]["mean"], first["moments"]["variance"] ** 0.5
    off = [(r - mean) / deviation - s for k in two for r, s in zip(k["mine"][-1], k["shaped"][-1], strict=True)]
    assert {round(abs(x), 4) for x in off} <= {0.0, 0.5}
    assert sum(abs(x) > 0.25 for x in off) / len(off) == pytest.approx(first["penalised"][-1], abs=1e-6)


def test_all_ranks_stop_where_the_verifier_scores_nothing(tmp_path: Path) -> None:
    ranks.run(SILENT, tiny.saved(), tmp_path / "said", world=2, strategy="ddp-cpu", seconds=120)
    first, second = (file.read_text() for file in sorted(tmp_path.glob("said-*.txt")))
    assert first == second
    assert first.startswith(
        "reward.mine failed on, or gave no score to, all 16 completions of the first generation: ValueError"
    )
