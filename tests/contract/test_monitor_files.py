"""What the monitors saw, in the files of a run, and how what is pooled becomes a number."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from support import tiny
from support.log_history import seeded
from support.monitored import TERMS, make

from entropostat.rl.window import Closed
from entropostat.trainers.evaluation.entropy import completion_entropy
from entropostat.trainers.records.files import record_files
from entropostat.trainers.watch.monitor_report import Memory, of_generation


@pytest.mark.parametrize("case", ["scored", "on-policy", "on-policy, scored for a term"])
def test_the_files_hold_tokens_with_their_entropies_and_a_histogram(path: str, tmp_path: Path, case: str) -> None:
    """On-policy the entropies are those of the first forward, row by row in another order."""
    terms = {"weights": TERMS["weights"]} if "term" in case else {}
    slices = 2 if case == "scored" else 1
    trainer = make(
        path, tiny.objective(**terms), max_steps=1, steps_per_generation=slices, per_device_train_batch_size=8
    )
    for callback in record_files(tmp_path, trainer, trainer.monitors, 5):
        trainer.add_callback(callback)
    outputs = []
    note = trainer.monitors.note_generation
    trainer.monitors.note_generation = lambda output, *rest: (outputs.append(dict(output)), note(output, *rest))[1]
    policy = tiny.model().eval()
    seeded(trainer)
    (output,) = outputs
    ids = torch.cat([output["prompt_ids"], output["completion_ids"]], 1)
    attention = torch.cat([output["prompt_mask"], output["completion_mask"]], 1)
    exact = completion_entropy(policy, ids, attention, output["prompt_ids"].size(1))
    lines = [json.loads(line) for line in (tmp_path / "completions.jsonl").read_text().splitlines()]
    assert len(lines) == 5
    for index, line in enumerate(lines):
        kept = output["completion_mask"][index].bool()
        assert line["tokens"] == [trainer.processing_class.decode([i]) for i in output["completion_ids"][index][kept]]
        assert line["entropies"] == pytest.approx(exact[index][kept].tolist(), abs=2e-4)
    (histogram,) = [json.loads(line) for line in (tmp_path / "histograms.jsonl").read_text().splitlines()]
    assert histogram["step"] == 1 and histogram["key"] == "entropy"
    assert sum(histogram["counts"]) == int(output["completion_mask"].sum())
    assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert histogram["edges"][-1] == pytest.approx(math.log(28))


def test_what_is_pooled_under_the_key_of_a_metric_is_logged_as_its_mean() -> None:
    pooled = {"text/new": [1.0, 4.0], "text/none": [0.0, 0.0], "other": [3.0]}
    closed = Closed({}, {}, False, 4.0, [4.0], pooled, {})
    told = of_generation(closed, Memory(math.log(8)), step=1)
    assert told == {"text/new": 0.25, "text/none": pytest.approx(math.nan, nan_ok=True)}
