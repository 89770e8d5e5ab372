"""Masked completions in a live run: no number is made of nothing, and what is measured is a mean over tokens."""

from __future__ import annotations

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import run_files, tiny
from support.log_history import step_rows

from entropostat.diagnose import examine
from entropostat.rl.batch import TokenBatch
from entropostat.rl.window import Window
from entropostat.trainers.records.files import MetricsFile
from entropostat.trainers.trl.loss_pass import LossPass

LOOP = {"pid": {"signal": "entropy", "target": 0.5, "effect": "raises", "smoothing": 0.0, "ki": 0.01, "high": 1.0}}


def loops(signal: str, **options: Any) -> dict[str, Any]:
    return {"pid": {**LOOP["pid"], "signal": signal, **options}}


def test_a_run_whose_completions_are_all_masked_measures_nothing_and_moves_no_knob(path: str, tmp_path: Path) -> None:
    penalties = [
        {"entropy_bonus": {"coef": LOOP}},
        {"ter": {"coef": {"step": {"delta": 0.1}}}},
        {"kl_ref": {"coef": {"adaptive_kl": {"target": 0.1, "samples": 4}}}},
        {"renyi_bonus": {"coef": loops("entropy_ratio")}},
        {"aepo": {"coef": loops("length", target=3.0, low=0.0, start=0.5)}},
    ]
    trainer = tiny.ours(
        path,
        tiny.objective(
            advantages=["grpo", {"entrocraft": {}}, "edge"],
            weights=[{"steer": {}}, {"clip_b": {}}, {"high_entropy": {}}],
            penalties=penalties,
        ),
        mask_truncated_completions=True,
        max_completion_length=2,
        max_steps=12,
        generation_kwargs={"suppress_tokens": [0, 1]},  # no completion ends by itself
    )
    trainer.add_callback(MetricsFile(tmp_path))
    trainer.train()
    rows = run_files.rows(tmp_path)
    rows = [row for row in rows if "loss" in row]
    assert [row["health/trained_tokens"] for row in rows] == [0.0] * 12
    measured = {
        "entropy",
        "kl",
        "entropy_bonus/entropy",
        "kl_ref/kl",
        "ter/side",
        "ter/entropy",
        "steer/mean",
        "clip_b/mean",
    }
    measured |= {"high_entropy/threshold", "steer/smallest", "clip_ratio/region_mean"}
    rollout = {"entrocraft/entropy", "entrocraft/side", "edge/factor", "signal/entropy_ratio", "signal/length"}
    for row in rows:
        asked = measured | rollout if "completions/mean_length" in row else measured
        assert {key: row[key] for key in asked} == dict.fromkeys(asked)
        assert not any(key.startswith("aepo/") for key in row), "nothing says on which side of its target entropy is"
        assert not [key for key in row if key.startswith(("entropy/", "forces/", "trust/", "text/length"))]
    for knob, state in trainer.thermostat.state.items():
        outputs = {row[f"control/{knob}/output"] for row in rows}
        assert outputs == {state["output"]} and state["missed"] == 12 and state["alarm"] == 1, knob
        assert {row.get(f"control/{knob}/signal") for row in rows} == {None}
    findings = examine(SimpleNamespace(rows=rows))
    assert [one.rule for one in findings] == ["nothing-trained"] and findings[0].steps == (1, 12)
    assert (
        "100% of the completions were cut off" in findings[0].cause and "max_completion_length: 4" in findings[0].advice
    )


class Seen:
    """The micro-batches of every window, as they came."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.windows: list[list[TokenBatch]] = [[]]
        add, close = Window.add, Window.close

        def adds(window: Window, batch: TokenBatch, *rest: Any) -> None:
            self.windows[-1].append(batch.detached())
            add(window, batch, *rest)

        def closes(window: Window, *args: Any) -> Any:
            self.windows.append([])
            return close(window, *args)

        patch.setattr(Window, "add", adds)
        patch.setattr(Window, "close", closes)

    def means(self, name: str) -> list[float]:
        """Of each window, over its tokens, whichever micro-batch they are in."""
        return [mean_of([value(b, name)[b.valid] for b in window]) for window in self.windows[:-1]]


def value(batch: TokenBatch, name: str) -> torch.Tensor:
    if name == "entropy":
        return batch.require("entropy")
    x = batch.logps - batch.require("ref_logps")
    return (-x).exp() + x - 1


def mean_of(parts: list[torch.Tensor]) -> float:
    tokens = torch.cat(parts).double()
    return float(tokens.mean()) if tokens.numel() else math.nan


@pytest.mark.parametrize("masked", [True, False], ids=["some masked", "none masked"])
def test_a_mean_is_over_the_tokens_of_the_window_however_they_fall_into_micro_batches(path: str, masked: bool) -> None:
    penalties = [{"entropy_bonus": {"coef": loops("kl_ref/kl", target=0.1)}}, {"kl_ref": {"coef": 0.1}}]
    with pytest.MonkeyPatch.context() as patch:
        seen = Seen(patch)
        trainer = tiny.ours(
            path,
            tiny.objective(penalties=penalties),
            mask_truncated_completions=masked,
            per_device_train_batch_size=1,
            gradient_accumulation_steps=4,
            steps_per_generation=8,
            max_completion_length=16,
            max_steps=4,
            num_iterations=2,
        )
        trainer.train()
    rows = step_rows(trainer)
    empty = [sum(not b.valid.any() for b in window) for window in seen.windows[:-1]]
    assert (max(empty) > 0 and min(empty) < 4) if masked else not any(empty)
    for key, name in (("entropy", "entropy"), ("entropy_bonus/entropy", "entropy"), ("kl_ref/kl", "kl"), ("kl", "kl")):
        assert [math.nan if row[key] is None else row[key] for row in rows] == pytest.approx(
            seen.means(name), rel=1e-5, abs=1e-9, nan_ok=True
        )
    at = trainer.thermostat.state["penalties.entropy_bonus.coef"]
    assert at["signal"] == pytest.approx([x for x in seen.means("kl") if not math.isnan(x)][-1], rel=1e-5, abs=1e-9)
    assert any(len({int(b.count) for b in window}) > 1 for window in seen.windows[:-1])


def test_an_evaluations_entropy_is_a_mean_over_its_tokens(path: str) -> None:
    seen: list[tuple[torch.Tensor, torch.Tensor]] = []
    trainer = tiny.ours(path, per_device_eval_batch_size=4, max_completion_length=16)
    tap = trainer._tap

    def taps(passed: LossPass, logps: torch.Tensor, entropy: torch.Tensor, *args: Any) -> None:
        tap(passed, logps, entropy, *args)
        seen.append((entropy.detach(), passed.batch.valid))

    trainer._tap = taps
    for _ in range(2):  # the second starts anew
        seen.clear()
        metrics = trainer.evaluate(tiny.prompts(8))
        assert len(seen) > 1 and len({int(valid.sum()) for _, valid in seen}) > 1
        assert metrics["eval_entropy"] == pytest.approx(mean_of([h[valid] for h, valid in seen]), rel=1e-5)


def test_a_measurement_is_not_told_again_when_none_follows(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective(penalties=[{"entropy_bonus": {"coef": LOOP}}]))
    trainer.train()
    trainer.close_window(True)
    told = {
        key.rpartition("/")[2]: values
        for key, values in trainer._metrics["train"].items()
        if key.startswith("control/")
    }
    assert math.isnan(told["signal"][-1]) and not math.isnan(told["output"][-1])
