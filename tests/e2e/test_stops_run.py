"""A recipe's stop tokens and generation_kwargs, from the file to the completions and to the held-out evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support import run_files

from entropostat.__main__ import main
from entropostat.trainers import measurement

pytestmark = pytest.mark.usefixtures("cache")
PLAIN = "entropostat:quickstart/plain.yaml"
SHORT = [
    "model.build.steps=20",
    "data.curriculum=[{source: easy, steps: 4}]",
    "trainer.per_device_train_batch_size=8",
    "evaluate={every: 0, prompts: 8, samples: 4, k: [1], reference: false}",
]


def test_a_recipes_stops_end_completions_in_training_and_evaluation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings, texts, evaluate = [], [], measurement.evaluate

    def watch(model: Any, tokenizer: Any, sets: Any, verify: Any, given: Any, **others: Any) -> dict[str, float]:
        settings.append(given)
        seen = lambda completions, asked: texts.extend(completions) or verify(completions, asked)
        return evaluate(model, tokenizer, sets, seen, given, **others)

    monkeypatch.setattr(measurement, "evaluate", watch)
    words = ["sampler.stop=['=', '+']", "trainer.generation_kwargs={begin_suppress_tokens: [5]}"]
    assert main(["train", PLAIN, f"output_dir={tmp_path}", *SHORT, *words]) == 0
    (folder,) = tmp_path.iterdir()
    shown = [json.loads(line)["completion"] for line in (folder / "completions.jsonl").read_text().splitlines()]
    for completions in (shown, texts):
        assert completions and all(not set("=+") & set(text[:-1]) for text in completions)
        assert any(text[-1:] in ("=", "+") for text in completions)
    assert len(settings[0].stop) == 3 and settings[0].decoding == {"begin_suppress_tokens": [5]}
    rows = run_files.rows(folder)
    lengths = [row["evaluate/easy/mean_length"] for row in rows if "evaluate/easy/mean_length" in row]
    assert len(lengths) == 2


def test_a_stop_that_is_not_one_token_is_one_line_before_the_model_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(measurement, "load_policy", lambda *_: pytest.fail("the model was loaded"))
    assert main(["train", PLAIN, f"output_dir={tmp_path}", *SHORT, "sampler.stop=['==']"]) == 2
    assert "sampler.stop: '==' is not one token of this tokenizer, but 2 tokens" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
