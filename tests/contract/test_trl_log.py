"""Every number that TRL logs, beside a loss of ours: the number that stock logs for the same objective, or none."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from support import tiny
from torch import Tensor
from transformers import set_seed
from trl import GRPOTrainer

from entropostat.rl.batch import TokenBatch
from entropostat.rl.registry import LOSSES
from entropostat.rl.window import Window
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.own_loss import clipped

RUN: dict[str, Any] = {
    "max_steps": 4, "steps_per_generation": 4, "learning_rate": 3e-2, "eval_strategy": "steps", "eval_steps": 3,
    "per_device_eval_batch_size": 16,
}  # fmt: skip
"""One batch in an evaluation, as in a step: of several TRL averages the means."""
CLIPPED = ("grpo", "bnpo", "dr_grpo", "dapo", "luspo")
CLIP = frozenset(f"clip_ratio/{key}" for key in ("low_mean", "high_mean", "region_mean", "low_min", "high_max"))
BAND = {"epsilon": 0.05, "epsilon_high": 0.1}
OWN = sorted(set(LOSSES.names()) - {"trl"})


@pytest.fixture(scope="module")
def stock(path: str) -> Callable[..., list[dict[str, float]]]:
    """The rows of stock TRL, each run made once."""
    made: dict[str, list[dict[str, float]]] = {}

    def run(**changes: Any) -> list[dict[str, float]]:
        key = repr(sorted(changes.items()))
        return made[key] if key in made else made.setdefault(key, rows(make(path, GRPOTrainer, **changes)))

    return run


def make(path: str, kind: type, **changes: Any) -> Any:
    own = {"objective": changes.pop("objective")} if "objective" in changes else {}
    return kind(
        model=path, reward_funcs=tiny.digits, args=tiny.config(**{**RUN, **changes}), train_dataset=tiny.prompts(),
        eval_dataset=tiny.prompts(4), **own,
    )  # fmt: skip


def rows(trainer: Any) -> list[dict[str, float]]:
    """Everything that is logged but how long it took."""
    set_seed(1)  # building the other trainer and training it has moved the global generator
    trainer.train()
    timed = ("time", "per_second", "flos", "_ms", "step_seconds")
    return [
        {key: value for key, value in row.items() if not any(word in key for word in timed)}
        for row in trainer.state.log_history
    ]


def trl(kind: str, **options: Any) -> tuple[dict[str, Any], dict[str, Any], frozenset[str]]:
    native = {"loss_type": kind, **options}
    return {"trl": {"type": kind, **options}}, native, frozenset()


EQUAL: dict[str, tuple[dict[str, Any], dict[str, Any], frozenset[str]]] = {
    **{f"trl {kind}": trl(kind, **BAND) for kind in CLIPPED},
    **{f"trl {kind}": trl(kind) for kind in ("sapo", "vespo")},
    "trl cispo": trl("cispo", epsilon_high=1.02),
    "trl by sequence": trl("grpo", importance_sampling_level="sequence", epsilon=3e-3, epsilon_high=4e-3),
    "trl two-sided": trl("grpo", delta=1.3, **BAND),
    **{f"ppo_clip {t}": ({"ppo_clip": {"type": t, **BAND}}, {"loss_type": t, **BAND}, frozenset()) for t in CLIPPED},
    "gspo": (
        {"gspo": {"epsilon": 3e-3, "epsilon_high": 4e-3}},
        {"loss_type": "grpo", "importance_sampling_level": "sequence", "epsilon": 3e-3, "epsilon_high": 4e-3},
        frozenset(),
    ),
    "archer": (
        {"archer": {"epsilon_know": 0.05, "epsilon_reason": 0.05, "dual": None}},
        {"epsilon": 0.05},
        frozenset(),
    ),
    # Bounds that stay where the search for others begins.
    "bapo": ({"bapo": {"target": 0.0, "lower": 0.95, "upper": 1.1, "dual": None}}, BAND, frozenset()),
    # Between its bounds, where the policy is the one that samples.
    "era": ({"era": {"sharpen_below": 0.0, "flatten_above": 1e3, "dual": None, **BAND}}, BAND, frozenset()),
    "cispo": ({"cispo": {"epsilon_high": 0.02}}, {"loss_type": "cispo", "epsilon_high": 1.02}, frozenset()),
    "sapo": ({"sapo": {}}, {"loss_type": "sapo"}, frozenset()),
    # A clip that never binds has shares of 0; a loss without one has no shares.
    "unclipped": ({"unclipped": {}}, {"epsilon": 1e6, "epsilon_high": 1e6}, CLIP),
    # The gradient is PPO's, the value is not.
    "ce_gppo": (
        {"ce_gppo": {"beta_low": 0.0, "beta_high": 0.0, "dual": None, **BAND}},
        BAND,
        frozenset({"loss", "train_loss"}),
    ),
}  # fmt: skip
"""Our loss, stock's arguments, and what may differ."""
UNEQUALLED = {"gpg", "gmpo", "aspo", "dppo", "ipo", "dro", "copo", "flowrl", "none"}
"""Losses that stock TRL has under no arguments."""


def test_every_other_loss_has_an_equal() -> None:
    assert {next(iter(loss)) for loss, _, _ in EQUAL.values()} == set(LOSSES.names()) - UNEQUALLED


@pytest.mark.parametrize("case", EQUAL)
def test_stock_logs_nothing_that_we_log_otherwise(path: str, stock: Any, case: str) -> None:
    loss, native, apart = EQUAL[case]
    expected = stock(**native)
    ours = rows(make(path, EntropyGRPOTrainer, objective=tiny.objective(loss=loss)))
    assert len(expected) == len(ours) == 7
    for before, after in zip(expected, ours, strict=True):
        for key, value in before.items():
            plain = key.removeprefix("eval_")
            if plain in CLIP and plain in apart:
                assert key not in after
            elif plain not in apart:
                assert after[key] == pytest.approx(value, rel=2e-5, abs=1e-7), key
    clipped = [row.get("clip_ratio/region_mean", row.get("cispo_clip_ratio")) for row in expected if "loss" in row]
    if not case.endswith(("sapo", "vespo", "unclipped")):
        assert max(clipped) > 0


SHARES: dict[str, tuple[dict[str, Any], Callable[[Tensor], tuple[Tensor, Tensor]]]] = {
    "ppo_clip": (BAND, lambda d: (d.exp() < 0.95, d.exp() > 1.1)),
    "ce_gppo": (BAND, lambda d: (d.exp() < 0.95, d.exp() > 1.1)),
    "gmpo": ({"epsilon": 0.03, "epsilon_high": 0.04}, lambda d: (d < -0.03, d > 0.04)),
    "cispo": ({"epsilon": 0.1, "epsilon_high": 0.02}, lambda d: (d.exp() < 0.9, d.exp() > 1.02)),
    "archer": ({"epsilon_know": 0.05, "epsilon_reason": 0.05}, lambda d: (d.exp() < 0.95, d.exp() > 1.05)),
    "aspo": ({"epsilon_know": 0.05, "epsilon_reason": 0.05}, lambda d: (d.exp() < 0.95, d.exp() > 1.05)),
    # A target that is out of reach, so that the search ends at both ends.
    "bapo": (
        {"target": 1e6, "lower": 0.9, "lower_max": 0.95, "upper": 1.02, "upper_max": 1.1},
        lambda d: (d.exp() < 0.95, d.exp() > 1.1),
    ),
    "gpg": ({}, lambda d: (d > torch.inf, d > torch.inf)),
}
"""Options, and what is beyond the bounds by the difference of the log-probs, whatever the advantage."""


@pytest.mark.parametrize("kind", SHARES)
def test_the_shares_are_of_all_tokens_of_a_window(path: str, kind: str) -> None:
    """Micro-batches of unequal length: a mean of their means would be another number."""
    options, beyond = SHARES[kind]
    spec = tiny.objective(loss={kind: options})
    trainer = make(path, EntropyGRPOTrainer, objective=spec, gradient_accumulation_steps=2, eval_strategy="no")
    seen: list[Any] = []
    trainer._tap, tap = lambda *args: (tap(*args), seen.append(args[0].batch.detached())), trainer._tap
    logged = [row for row in rows(trainer) if "loss" in row]
    assert len(seen) == 8 and len(logged) == 4
    for step, row in enumerate(logged):
        counts: dict[str, float] = defaultdict(float)
        lows, highs = [], []
        for batch in seen[2 * step : 2 * step + 2]:
            valid, a = batch.valid, batch.token_advantages
            low, high = beyond(torch.where(valid, batch.logps - batch.old_logps, 0.0))
            low, high = low & (a < 0) & valid, high & (a > 0) & valid
            counts["low"] += int(low.sum())
            counts["high"] += int(high.sum())
            counts["tokens"] += int(valid.sum())
            lows.append((low.sum(1) / valid.sum(1))[valid.any(1)].min())
            highs.append((high.sum(1) / valid.sum(1))[valid.any(1)].max())
        low, high = counts["low"] / counts["tokens"], counts["high"] / counts["tokens"]
        monitored = {"trust/clip_low": low, "trust/clip_high": high}
        whole = {"clip_ratio/low_mean": low, "clip_ratio/high_mean": high, "clip_ratio/region_mean": low + high}
        whole |= {"clip_ratio/low_min": float(min(lows)), "clip_ratio/high_max": float(max(highs))}
        holds = LOSSES[kind].holds
        wanted = {} if holds == "nothing" else monitored | (whole if holds == "ratio" else {"cispo_clip_ratio": high})
        if "trust/ratio_mean" not in row:  # a generation that is not monitored
            wanted = {key: value for key, value in wanted.items() if key not in monitored}
        names = {key for key in row if "clip_" in key and not key.startswith((f"{kind}/", "completions"))}
        assert {key: row[key] for key in names} == pytest.approx(wanted)
    assert kind == "gpg" or high > 0


def test_a_token_that_a_weight_takes_out_counts_for_neither(path: str) -> None:
    weights = [{"high_entropy": {"fraction": 0.3, "scope": "micro"}}]
    runs = []
    for loss in ({"trl": {"type": "dapo", **BAND}}, {"ppo_clip": BAND}):
        trainer = make(path, EntropyGRPOTrainer, objective=tiny.objective(loss=loss, weights=weights))
        runs.append([{key: row[key] for key in CLIP} for row in rows(trainer) if "loss" in row])
    assert len(runs[0]) == 4 and max(row["clip_ratio/region_mean"] for row in runs[0]) > 0
    for before, after in zip(*runs, strict=True):
        assert after == pytest.approx(before)


@pytest.mark.usefixtures("backward_of_trl")
@pytest.mark.parametrize("kind", ["grpo", "dapo"])
@pytest.mark.parametrize("own", [False, True])
def test_the_policy_loss_beside_trls_bonus_is_the_loss_without_it(path: str, stock: Any, kind: str, own: bool) -> None:
    changes = {"entropy_coef": 0.05, "gradient_accumulation_steps": 2, "loss_type": kind}
    expected = stock(beta=0.3, **changes)
    loss = {"ppo_clip": {"type": kind}} if own else {"trl": {"type": kind}}
    spec = tiny.objective(loss=loss, penalties=[{"kl_ref": {"coef": 0.3}}])
    ours = rows(make(path, EntropyGRPOTrainer, objective=spec, **changes))
    assert len(expected) == 7
    for before, after in zip(expected, ours, strict=True):
        for key in ("policy_loss", "loss", "eval_policy_loss", "eval_loss"):
            assert (key in before) == (key in after)
            assert after.get(key, 0) == pytest.approx(before.get(key, 0), rel=1e-4, abs=1e-6), key


def test_a_kl_of_trls_own_is_logged_as_trl_measures_it(path: str, stock: Any) -> None:
    """With its correction it is another number than the signal."""
    own = {"beta": 0.1, "use_bias_correction_kl": True, "eval_strategy": "no"}
    ours = rows(make(path, EntropyGRPOTrainer, objective=tiny.objective(), **own))
    told = [[row["kl"] for row in run if "loss" in row] for run in (stock(**own), ours)]
    assert len(told[0]) == 4 and told[0][-1] > 1e-3 and told[1] == pytest.approx(told[0], rel=1e-6)


def test_a_completion_without_a_token_is_no_end_of_the_clip_shares() -> None:
    mask = torch.tensor([[0.0, 0.0], [1.0, 1.0], [1.0, 0.0]])
    low, high = (
        torch.tensor([[True, True], [True, True], [True, True]]),
        torch.tensor([[True, True], [False, True], [True, True]]),
    )
    sums, ends = clipped(TokenBatch(torch.zeros(3, 2), mask), low, high)
    assert sums.tolist() == [3.0, 2.0, 3.0] and ends.tolist() == [-1.0, 1.0]
    assert clipped(TokenBatch(torch.zeros(3, 2), 0 * mask), low, high)[1].tolist() == [-math.inf, -math.inf]


# ---------------------------------------------------------------------------------------- what cannot be computed


@pytest.fixture(scope="module", params=sorted(set(OWN) - {"none"}))
def prepared(request: Any, path: str) -> tuple[Any, dict[str, Any]]:
    """A trainer with that loss, and a micro-batch of its first generation."""
    changes = {"max_steps": 1, "learning_rate": 0.0, "steps_per_generation": 2, "eval_strategy": "no"}
    trainer = make(path, EntropyGRPOTrainer, objective=tiny.objective(loss={request.param: {}}), **changes)
    trainer.answer_keys = lambda: ["1", "2"] * 4  # for those that cluster answers
    trainer.train()
    trainer.model.train()
    inputs = dict(trainer._buffered_inputs[0])
    return trainer, inputs | {"advantages": torch.tensor([0.7, -1.1, 0.4, -0.2])}


def gradient(trainer: Any, inputs: dict[str, Any]) -> tuple[Tensor, Tensor]:
    trainer.model.zero_grad()
    trainer.thermostat.window = Window()
    loss = trainer._compute_loss(trainer.model, dict(inputs))
    loss.backward()
    return loss.detach(), torch.cat([p.grad.flatten() for p in trainer.model.parameters() if p.grad is not None])


def test_one_far_old_log_prob_leaves_the_step_finite(prepared: tuple[Any, dict[str, Any]]) -> None:
    trainer, inputs = prepared
    for row in (0, 1):  # whose advantages have either sign
        for far in (-100.0, -1e4, -math.inf, 100.0):
            old = inputs["old_per_token_logps"].clone()
            old[row, 0] = far
            loss, grad = gradient(trainer, inputs | {"old_per_token_logps": old})
            assert loss.isfinite() and grad.isfinite().all(), far
            assert trainer.guard._seen[-1].values["old_logps"][row, 0] == far  # what a record of a fault would hold


def test_a_token_that_has_become_impossible_leaves_the_step_finite(
    prepared: tuple[Any, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, inputs = prepared
    forward = GRPOTrainer._get_per_token_logps_and_entropies

    def impossible(self: Any, *args: Any, **kwargs: Any) -> Any:
        logps, *rest = forward(self, *args, **kwargs)
        where = torch.zeros_like(logps, dtype=torch.bool)
        where[:2, 0] = True
        return logps.masked_fill(where, -torch.inf), *rest

    monkeypatch.setattr(GRPOTrainer, "_get_per_token_logps_and_entropies", impossible)
    loss, grad = gradient(trainer, inputs)
    assert loss.isfinite() and grad.isfinite().all() and grad.norm() > 0
