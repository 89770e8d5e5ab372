"""Surrogates that TRL offers too, in live runs: ours must take the same steps. The others must take any."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny
from support.log_history import history

RUN: dict[str, Any] = {"max_steps": 4, "gradient_accumulation_steps": 1, "steps_per_generation": 4}
KEYS = ("loss", "grad_norm", "entropy")


SAME: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "sapo": ({"tau_neg": 1.4}, {"loss_type": "sapo", "sapo_temperature_neg": 1.4}),
    "cispo": ({"epsilon_high": 0.1}, {"loss_type": "cispo", "epsilon_high": 1.1}),
    "gspo": (
        {"epsilon": 3e-3, "epsilon_high": 4e-3},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-3, "epsilon_high": 4e-3},
    ),
}


@pytest.mark.parametrize("kind", SAME)
def test_ours_takes_the_steps_of_trls(path: str, kind: str) -> None:
    options, native = SAME[kind]
    expected = history(tiny.stock(path, **native, **RUN), *KEYS)
    steps = history(tiny.ours(path, tiny.objective(loss={kind: options}), **RUN), *KEYS)
    for before, after in zip(expected, steps, strict=True):
        assert after == pytest.approx(before, rel=1e-5)
    assert all(norm > 0 for _, norm, _ in steps)


@pytest.mark.parametrize("kind", ["gmpo", "gpg", "ce_gppo", "archer"])
def test_a_run_moves_the_policy(path: str, kind: str) -> None:
    weights = [{"high_entropy": {"fraction": 0.5}}]
    steps = history(tiny.ours(path, tiny.objective(loss={kind: {}}, weights=weights), **RUN), *KEYS)
    assert len(steps) == 4
    assert all(norm > 0 for _, norm, _ in steps)
    assert steps[0][2] != steps[-1][2]


@pytest.mark.parametrize("divergence", ["js", "alpha", "chi2_ref_pi"])
def test_a_run_with_another_divergence_logs_it_and_moves_the_policy(path: str, divergence: str) -> None:
    penalty = {"kl_ref": {"coef": 0.5, "divergence": divergence, "normalize_curvature": True}}
    trainer = tiny.ours(path, tiny.objective(penalties=[penalty]), **RUN)
    assert all(norm > 0 for _, norm, _ in history(trainer, *KEYS))
    logged = [row for row in trainer.state.log_history if "loss" in row]
    assert logged[0]["kl_ref/divergence"] == pytest.approx(0.0, abs=1e-6)
    assert logged[-1]["kl_ref/divergence"] > 0
