"""TRL's own entropy features against our terms, to the digit, in live runs."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny
from support.log_history import history

pytestmark = pytest.mark.usefixtures("backward_of_trl")

RUN: dict[str, Any] = {"max_steps": 6, "gradient_accumulation_steps": 2, "steps_per_generation": 4}


@pytest.mark.parametrize("kind", ["dapo", "grpo", "cispo"])
def test_entropy_coef(path: str, kind: str) -> None:
    native = tiny.stock(path, entropy_coef=0.05, loss_type=kind, epsilon_high=0.3, **RUN)
    loss = {"trl": {"type": kind, "epsilon_high": 0.3}}
    bonus = {"entropy_bonus": {"coef": 0.05, "reduction": "trl"}}
    trainer = tiny.ours(path, tiny.objective(loss=loss, penalties=[bonus]), **RUN)
    keys = ("loss", "grad_norm")
    for expected, logged in zip(history(native, *keys), history(trainer, *keys), strict=True):
        assert logged == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("target", [3.32, 0.2])
def test_adaptive_entropy(path: str, target: float) -> None:
    """Above and below the target: the coefficient path and the gated loss are TRL's."""
    native = tiny.stock(path, use_adaptive_entropy=True, entropy_target=target, entropy_coef_delta=0.02, **RUN)
    step = {"target": target, "delta": 0.02}
    bonus = {"entropy_bonus": {"coef": {"step": step}, "reduction": "trl"}}
    trainer = tiny.ours(path, tiny.objective(penalties=[bonus]), **RUN)
    coefficients = []
    close = trainer.close_window

    def watch(applied: bool) -> bool:
        stop = close(applied)
        coefficients.append(trainer.thermostat.state["penalties.entropy_bonus.coef"]["coefficient"])
        return stop

    trainer.close_window = watch
    keys = ("loss", "grad_norm")
    expected = history(native, *keys, "entropy_coef")
    logged = history(trainer, *keys)
    for (*before, coefficient), after, ours in zip(expected, logged, coefficients, strict=True):
        assert after == pytest.approx(before, rel=1e-6)
        assert ours == pytest.approx(coefficient, abs=1e-12)
    assert any(c > 0 for c in coefficients) == (target > 1)


def test_top_entropy_quantile(path: str) -> None:
    native = tiny.stock(path, top_entropy_quantile=0.3, **RUN)
    weight = {"high_entropy": {"fraction": 0.3, "scope": "ranks"}}
    trainer = tiny.ours(path, tiny.objective(weights=[weight]), **RUN)
    keys = ("loss", "grad_norm")
    for expected, logged in zip(history(native, *keys), history(trainer, *keys), strict=True):
        assert logged == pytest.approx(expected, rel=1e-6)


def test_native_beta(path: str) -> None:
    native = tiny.stock(path, beta=0.3, **RUN)
    trainer = tiny.ours(path, tiny.objective(penalties=[{"kl_ref": {"coef": 0.3}}]), **RUN)
    keys = ("loss", "grad_norm")
    for expected, logged in zip(history(native, *keys), history(trainer, *keys), strict=True):
        assert logged == pytest.approx(expected, rel=1e-5)
