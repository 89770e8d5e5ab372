"""The benchmark of the vocabulary pass on a card, as far as it can run without one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.cost import vocab, vocab_cuda
from benchmarks.smoke.checks import kernel_speed

CPU = torch.device("cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a card")
def test_without_a_card_it_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: Any) -> None:
    monkeypatch.setattr(sys, "argv", ["vocab.py", "--device", "cuda", "--out", str(tmp_path)])
    assert vocab.main() == 2
    assert "no CUDA device" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_every_row_is_measured_and_has_its_line_in_the_table() -> None:
    card = vocab_cuda.card(CPU, 1, size=16, copied=2**16)
    subjects = vocab_cuda.Subjects(vocab.problem, vocab.CARD, vocab.STEPS)
    rows = list(vocab_cuda.measure(subjects, CPU, 1, 8, (16,), (301,), ("torch", "TRL")))
    assert len(rows) == len(vocab.CARD) * 2 * 2 + len(vocab.STEPS) * 2
    assert all(row["s"] > 0 for row in rows)
    text = vocab_cuda.report({"card": card, "rows": rows, "made with": "a processor"})
    assert sum(line.startswith(("| 301", "| fold", "| slope")) for line in text.splitlines()) == len(rows)
    assert len({line.count("|") for line in text.splitlines() if line.startswith(("| 301", "| vocabulary"))}) == 1


def test_the_checklist_s_row_has_both_passes_of_each_path() -> None:
    rows = kernel_speed.measured("cpu", (8, 16, 301), 1, ("torch", "TRL"))
    assert [(row["pass"], row["path"]) for row in rows] == [
        (one, path) for one in ("forward", "forward and backward") for path in ("torch", "TRL")
    ]
    assert all(row["s"] > 0 for row in rows)


def test_rates_are_those_of_the_formulas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocab_cuda, "in_turn", lambda runs, rounds, device: dict.fromkeys(runs, 0.5))
    inputs = vocab_cuda.half(vocab.problem(8, 16, 301), CPU)
    forward, both = vocab_cuda.passes(inputs, {"logp, entropy": vocab.CARD["logp, entropy"]}, ("torch",), 1)
    assert forward["flop/s"] == 2 * 8 * 16 * 301 / 0.5
    assert both["flop/s"] == 4 * forward["flop/s"]
    fold, slope = vocab_cuda.steps(inputs, vocab.STEPS["logp, entropy"], ("torch",), 1)
    assert fold["bytes/s"] == 8 * 301 * 2 / 0.5
    assert slope["bytes/s"] == 2 * fold["bytes/s"]
    assert vocab_cuda.card(CPU, 1, size=16, copied=64) == {"bytes/s": 256.0, "flop/s": 2 * 16**3 / 0.5}
