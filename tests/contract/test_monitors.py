"""The monitors in live runs: everything is logged, nothing is changed, and the files hold what the policy did."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig
from support import tiny
from support.log_history import seeded, step_rows
from support.monitored import TERMS, halves, make

from entropostat.recipe.machine_blocks import Tracking
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.watch import monitors

GENERATION = {
    *(
        f"entropy/{key}"
        for key in ("p10", "p50", "p90", "p99", "forking", "wrong", "right", "position/0", "position/8")
    ),
    *(f"learning/{key}" for key in ("solve_none", "solve_some", "solve_all", "pass@1", "pass@k", "gap")),
    *(f"text/{key}" for key in ("length_right", "length_wrong", "repetition", "distinct", "distinct_2")),
    *(f"text/{key}" for key in ("vendi1", "vendi2", "similarity", "similarity_across")),
    *("forces/covariance/mean", "forces/covariance/max", "forces/covariance/weighted", "entropy/spikes"),
}
STEP = {
    *(f"trust/{key}" for key in ("ratio_mean", "ratio_max", "ratio_min", "clip_low", "clip_high", "kl_old")),
    *(f"forces/{term}/{key}" for term in ("trl", "kl_ref", "kl_cov", "entropy_bonus") for key in ("share", "entropy")),
    *(f"forces/{term}/{key}" for term in ("clip_cov", "kl_ref", "kl_cov") for key in ("touched_up", "touched_down")),
}
EVERY = {"health/monitor_ms"}
ROWS = ("entropy/", "learning/", "text/", "forces/", "trust/", "health/")


def seen(row: dict[str, Any]) -> set[str]:
    return {key for key in row if key.startswith(ROWS) and key not in ("health/nonfinite", "health/trained_tokens")}


def test_a_run_logs_every_monitor_on_its_clock(path: str) -> None:
    logged = seeded(make(path, max_steps=6))
    for index, row in enumerate(logged):
        expected = STEP | EVERY | (GENERATION if index % 2 == 0 else {"forces/realised"})
        expected |= {"health/step_seconds"} if index else set()
        assert expected <= seen(row), (index, expected - seen(row))
        assert all(math.isfinite(row[key]) for key in seen(row))
        assert sum(row[key] for key in row if key.endswith("/share")) == pytest.approx(1.0)
    assert logged[0]["trust/ratio_max"] == 1.0 < logged[1]["trust/ratio_max"]
    assert logged[0]["forces/entropy_bonus/entropy"] > 0
    assert logged[0]["entropy/forking"] == pytest.approx(0.2, abs=0.05)
    assert logged[0]["entropy/p10"] < logged[0]["entropy/p50"] < logged[0]["entropy/p99"] <= math.log(28)
    assert abs(logged[0]["entropy"] - logged[0]["entropy/p50"]) < 0.01


def test_one_generation_in_so_many_is_monitored_and_none_by_0(path: str) -> None:
    logged = seeded(make(path, every=2, max_steps=8))
    assert ["forces/trl/share" in row for row in logged] == [True, True, False, False] * 2
    assert ["entropy/p50" in row for row in logged] == [True, False] * 4
    off = seeded(make(path, every=0, max_steps=2))
    assert not any(seen(row) for row in off)
    with pytest.raises(ValueError, match="monitor_every"):
        Tracking(monitor_every=-1)


CASES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "all terms": (TERMS, {}),
    "on-policy": ({}, {"steps_per_generation": 1}),
    "accumulation": (TERMS, {"gradient_accumulation_steps": 2, "steps_per_generation": 4}),
    "iterations": (TERMS, {"num_iterations": 2}),
    "own loss": ({"loss": {"gspo": {}}, **TERMS}, {}),
    "sequence level": ({"loss": {"trl": {"type": "grpo", "importance_sampling_level": "sequence"}}}, {}),
    "extra rows": ({"penalties": [{"aepo": {"coef": 0.5, "success": -1.0}}]}, {}),
    "other statistics": (
        {"weights": [{"entropy_tilt": {"gain": 0.5}}], "penalties": [{"renyi_bonus": {"coef": 0.5}}]},
        {},
    ),
    "advantages of trl": ({"advantages": []}, {}),
    "truncated rows": (TERMS, {"mask_truncated_completions": True, "max_completion_length": 4}),
}


@pytest.mark.parametrize("name", CASES)
def test_monitors_change_no_bit_of_training(path: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the forces of the parts are the gradient of the loss that is trained."""
    terms, changes = CASES[name]
    spec, gaps = tiny.objective(**terms), []

    def compared(trainer: Any) -> Any:
        compute = EntropyGRPOTrainer._compute_loss

        def run(model: Any, inputs: Any, *args: Any, **kwargs: Any) -> Any:
            pulled: list[Any] = []
            with monkeypatch.context() as patch:
                patch.setattr(monitors, "force", lambda pull, batch: (pulled.append((pull, batch)), torch.zeros(2))[1])
                loss = compute(trainer, model, inputs, *args, **kwargs)
            at = {
                n: x for n, x in monitors.fields(pulled[0][1]).items() if n in ("logps", "entropy", "extra", "sum_p2")
            }
            whole = torch.autograd.grad(loss, list(at.values()), retain_graph=True, allow_unused=True)
            for field, value in zip(at, whole, strict=True):
                parts = [pull[field] for pull, _ in pulled if field in pull]
                if value is not None:
                    gaps.append(float((sum(parts) + value).abs().max()) / max(float(value.abs().max()), 1e-9))
            return loss

        return run

    results = []
    for every in (0, 1):
        trainer = make(path, spec, every, max_steps=4, **changes)
        logged = seeded(trainer)
        weights = torch.cat([p.flatten() for p in trainer.model.parameters()])
        results.append(([(row["loss"], row["grad_norm"], row["entropy"]) for row in logged], torch.rand(1), weights))
    (before, draw, weights), (after, same, again) = results
    assert after == before and torch.equal(draw, same) and torch.equal(weights, again)

    trainer = make(path, spec, 1, max_steps=2, **changes)
    trainer._compute_loss = compared(trainer)
    trainer.train()
    assert gaps and max(gaps) < 1e-5


def test_a_bare_generation_has_no_monitor_and_no_error(path: str) -> None:
    """Nothing scored, groups of one, all rows masked."""
    unscored = lambda completions, **_: [None] * len(completions)
    logged = seeded(make(path, tiny.objective(), reward_funcs=unscored, max_steps=2))
    assert not {
        key for row in logged for key in row if key.startswith("learning/") or key in ("entropy/right", "entropy/wrong")
    }
    assert "entropy/p50" in logged[0]
    logged = seeded(tiny.ppo(tiny.model(), max_steps=2))
    assert logged[0]["learning/gap"] == 0 and "text/distinct" not in logged[0]
    assert logged[0]["forces/trl/share"] == 1.0
    masked = seeded(make(path, mask_truncated_completions=True, max_completion_length=1, max_steps=2))
    assert not any(math.isnan(row[key]) for row in masked for key in seen(row))


def test_the_covariance_of_a_window_that_is_a_generation_is_told_with_it(path: str) -> None:
    logged = seeded(make(path, tiny.objective(), steps_per_generation=1, max_steps=3))
    assert all({"forces/covariance/mean", "forces/covariance/max"} <= seen(row) for row in logged)
    assert all((row["forces/covariance/max"] > 0) == (row["forces/trl/entropy"] != 0) for row in logged), "its own"


def test_answers_are_compared_and_the_laws_told_once_there_are_generations_enough(path: str) -> None:
    """Scored and, exactly on-policy, not: then nobody knows how likely a completion was when its answers are compared."""
    said: list[str | None] = []

    def reward(completions: list[str], **_: Any) -> list[float]:
        said[:] = [text[:1] or None for text in completions]
        return halves(completions)

    told = {f"learning/law/{key}" for key in ("a", "r2", "ceiling", "ceiling_low", "ceiling_high")}
    told |= {f"forces/covariance/{key}" for key in ("realised", "predicted", "predicted_weighted", "agreement")}
    answers = {f"text/answers/{key}" for key in ("parsed", "entropy", "majority", "hill0", "hill1", "hill2")}
    for slices in (2, 1):
        trainer = make(path, tiny.objective(), reward_funcs=reward, max_steps=10 * slices, steps_per_generation=slices)
        trainer.answer_keys = lambda: said
        logged = seeded(trainer)[::slices]
        assert not [answers - seen(row) for row in logged if not answers <= seen(row)]
        assert any("text/answers/information" in row for row in logged) == (slices == 2), "of one prompt there is none"
        assert all(("text/answers/semantic_entropy" in row) == (slices == 2) for row in logged)
        hill = [[1.0, *(row[f"text/answers/hill{q}"] for q in (2, 1, 0))] for row in logged]
        assert all(b > a - 1e-9 for one in hill for a, b in itertools.pairwise(one)), "a higher order counts fewer"
        assert not told & seen(logged[0]) and told <= seen(logged[-1])
        past = trainer.monitors.memory.generations
        assert len(past) == 10 and all(None not in one for one in past)
        assert [one.reward for one in past] == pytest.approx([row["reward"] for row in logged])
        assert past[-1].covariance == pytest.approx(logged[-1]["forces/covariance/mean"])
    assert all("text/answers/parsed" not in row for row in seeded(make(path, tiny.objective(), max_steps=1)))


def test_adapters_are_monitored(path: str) -> None:
    lora = LoraConfig(task_type="CAUSAL_LM", r=4, target_modules="all-linear")
    assert seen(seeded(make(path, peft_config=lora, max_steps=2))[0]) >= GENERATION


def test_tool_output_is_no_text_of_the_policy(path: str) -> None:
    """A tool speaks in the second half of every completion: only the first half is measured."""
    trainer = make(path, tiny.objective(), max_steps=2)
    note, lengths = trainer.monitors.note_generation, []

    def tooled(output: dict[str, Any], batch: Any, *more: Any) -> None:
        output["tool_mask"] = (
            (torch.arange(output["completion_ids"].size(1)) < 3).long().expand_as(output["completion_ids"])
        )
        batch = batch.set(mask=output["completion_mask"] * output["tool_mask"])
        lengths.extend(batch.mask.sum(1).tolist())
        note(output, batch, *more)

    trainer.monitors.note_generation = tooled
    row = seeded(trainer)[0]
    outcome = [row.get(f"text/length_{name}", 0.0) for name in ("right", "wrong")]
    assert max(outcome) <= 3 and max(lengths) == 3 and "text/repetition" not in row
    ids, entropies = trainer.monitors.shown_tokens()[0]
    assert entropies[3:] == [None] * (len(ids) - 3)


def test_the_gap_to_the_sampler_is_over_the_tokens_that_both_scored(path: str) -> None:
    trainer = make(path, tiny.objective(), max_steps=1)
    note = trainer.monitors.note_generation

    def sampled(output: dict[str, Any], batch: Any, *more: Any) -> None:
        noise = torch.full_like(batch.old_logps, 0.25)
        noise[0, 0] = math.nan
        logps = torch.where(batch.valid, batch.old_logps + noise, 1e9)
        note({**output, "sampling_per_token_logps": logps}, batch, *more)

    trainer.monitors.note_generation = sampled
    assert seeded(trainer)[0]["trust/sampler_gap"] == pytest.approx(0.25, abs=1e-6)


def test_a_checkpoint_keeps_what_the_monitors_know(path: str, tmp_path: Path) -> None:
    options = {"max_steps": 8, "output_dir": str(tmp_path), "save_strategy": "steps", "save_steps": 3}
    whole = make(path, every=2, shuffle_dataset=False, **options)
    expected = seeded(whole)
    assert whole.monitors.memory.forecast["line_n"] > 0
    again = make(path, every=2, shuffle_dataset=False, **options)
    again.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    resumed = step_rows(again)
    assert again.monitors.memory.state() == whole.monitors.memory.state()
    for before, after in zip(expected, resumed, strict=True):
        assert seen(before) - {"health/step_seconds"} <= seen(after)
        assert all(after[key] == before[key] for key in seen(before) if not key.startswith("health/"))


def test_predicted_and_realised_are_on_one_scale(path: str) -> None:
    """With a bonus that alone moves entropy, the foreseen change has the sign and the order of the realised one.

    Nothing is foreseen before five updates have shown what they did.
    """
    spec = tiny.objective(advantages=["grpo"], penalties=[{"entropy_bonus": {"coef": -3.0}}])
    flat = lambda completions, **_: [0.0] * len(completions)
    logged = seeded(make(path, spec, reward_funcs=flat, max_steps=40, learning_rate=3e-3, optim="sgd"))
    assert ["forces/predicted" in row for row in logged] == [False] * 11 + [True] * 29
    realised = [row["forces/realised"] for row in logged if "forces/realised" in row][-8:]
    predicted = [row["forces/predicted"] for row in logged[::2] if "forces/predicted" in row][-8:]
    assert all(x < 0 for x in (*realised, *predicted))
    assert sum(predicted) == pytest.approx(sum(realised), rel=0.5)
