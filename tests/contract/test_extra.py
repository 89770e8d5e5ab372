"""Completions that a term samples for itself: how they are made, how they join the forward pass, what they leave alone."""

from __future__ import annotations

import copy
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import trained
from trl import GRPOTrainer

from entropostat.trainers.rollout.extra import KEY, Joined
from entropostat.trainers.trl.sampling import resample, whole_groups


def aepo(**options: Any) -> dict[str, Any]:
    return tiny.objective(penalties=[{"aepo": {"coef": 0.5, "target": 2.0, "success": 0.4, "share": 0.5} | options}])


def watched(trainer: Any) -> list[dict[str, Any]]:
    """Every generation's buffer, as TRL would cut it."""
    seen, generate = [], trainer._generate_and_score_completions

    def watch(*args: Any) -> dict[str, Any]:
        seen.append(generate(*args))
        return seen[-1]

    trainer._generate_and_score_completions = watch
    return seen


def test_the_loss_is_the_log_likelihood_of_the_selected_rows_and_nothing_else_moves(path: str) -> None:
    trainer = tiny.ours(path, aepo(success=0.15), max_steps=4)
    compute, seen = trainer._compute_loss, []

    def both(model: Any, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        loss = compute(model, inputs)
        if f"{KEY}weights" in inputs:
            plain = {key: value for key, value in inputs.items() if not key.startswith(KEY)}
            chosen = inputs[f"{KEY}weights"] != 0
            ids, mask = (
                torch.cat([inputs[f"{KEY}prompt_{x}"], inputs[f"{KEY}completion_{x}"]], 1)[chosen]
                for x in ("ids", "mask")
            )
            width = inputs[f"{KEY}completion_ids"].size(1)
            logps = (
                trainer._get_per_token_logps_and_entropies(model, ids, mask, width)[0] if len(ids) else torch.zeros(1)
            )
            expected = -0.5 * (logps * mask[:, -width:]).sum() / inputs[f"{KEY}tokens"] if len(ids) else 0.0
            seen.append((len(ids), loss - compute(model, plain), expected))
        return loss

    trainer._compute_loss = both
    trainer.train()
    assert any(rows for rows, _, _ in seen)
    for _, difference, expected in seen:
        assert float(difference) == pytest.approx(float(expected), rel=1e-3, abs=1e-6)


def test_the_selected_rows_are_those_that_the_rewards_of_their_own_rollout_name(path: str) -> None:
    trainer = tiny.ours(path, aepo(success=0.15, share=1.0), max_steps=8)
    seen = watched(trainer)
    trainer.train()
    shares = []
    for output in (o for o in seen if f"{KEY}weights" in o):
        chosen = output[f"{KEY}weights"] != 0
        lengths = output[f"{KEY}completion_mask"].sum(1)
        ids = [row[:n].tolist() for row, n in zip(output[f"{KEY}completion_ids"], lengths, strict=True)]
        rewards = torch.tensor(tiny.digits([trainer.processing_class.decode(i, skip_special_tokens=True) for i in ids]))
        assert bool((rewards[chosen] > 0.15).all())
        shares.append(float(chosen.float().mean()))
    assert len(shares) >= 3 and 0 < sum(shares) / len(shares) < 1


def test_tokens_are_those_of_all_extra_completions_by_micro_batch(path: str) -> None:
    trainer = tiny.ours(path, aepo(success=-1.0, share=1.0))
    (output, *_) = watched(trainer), trainer.train()
    assert bool((output[0][f"{KEY}weights"] == 1).all())
    assert float(output[0][f"{KEY}tokens"]) == float(output[0][f"{KEY}loss_mask"].sum()) / 2


def test_the_ordinary_rows_are_scored_as_if_alone_and_the_extra_rows_too(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective())
    g = torch.Generator().manual_seed(0)
    ids, mask = torch.randint(3, 28, (4, 5 + 6), generator=g), torch.ones(4, 11, dtype=torch.long)
    mask[1, :2] = mask[2, 8:] = 0
    for prompt, length in ((3, 8), (7, 4)):  # both wider and narrower than the ordinary rows
        inputs = {
            f"{KEY}weights": torch.tensor([1.0, 0.0, 1.0, 0.0]),
            f"{KEY}prompt_ids": torch.randint(3, 28, (4, prompt), generator=g),
            f"{KEY}prompt_mask": torch.ones(4, prompt, dtype=torch.long),
            f"{KEY}completion_ids": torch.randint(3, 28, (4, length), generator=g),
            f"{KEY}completion_mask": torch.ones(4, length, dtype=torch.long),
            f"{KEY}loss_mask": torch.ones(4, length, dtype=torch.long),
            f"{KEY}tokens": torch.tensor(9.0),
        }
        joined = Joined(inputs, ids, mask, 6, 0)
        assert joined.ids.shape == (6, max(5, prompt) + max(6, length))
        score = lambda *x: trainer._get_per_token_logps_and_entropies(trainer.model, *x)[0]
        both = score(joined.ids, joined.attention, joined.length)
        torch.testing.assert_close(joined.ordinary(both), score(ids, mask, 6), rtol=1e-4, atol=1e-5)
        extra = joined.extra(both)
        own = torch.cat([inputs[f"{KEY}prompt_ids"], inputs[f"{KEY}completion_ids"]], 1)[[0, 2]]
        torch.testing.assert_close(extra.logps, score(own, torch.ones_like(own), length), rtol=1e-4, atol=1e-5)
        assert extra.weights.tolist() == [1.0, 1.0] and extra.tokens == 9.0


def test_a_second_rollout_leaves_no_trace_but_its_rows(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective())
    trainer.train()
    trainer.model.train()
    state = lambda: copy.deepcopy(
        (dict(trainer._metrics["train"]), trainer._logs, trainer.state.num_input_tokens_seen, trainer.beta)
    )
    trainer._metrics["train"]["reward"].append(0.5)
    before = state()
    inputs = [{"prompt": f"{i // 4}+1="} for i in range(8)]
    stock = lambda rows: GRPOTrainer._generate_and_score_completions(trainer, rows)
    cold = resample(trainer, stock, inputs, 0.5, 1e-4).output
    assert state() == before
    assert trainer.generation_config.temperature == trainer.generation_kwargs["temperature"] == 1.0
    assert cold["completion_ids"].size(0) == 4
    assert (cold["completion_ids"] == cold["completion_ids"][0]).all()  # at a temperature of 0 a group agrees


@pytest.mark.parametrize(
    "rows, group, share, expected", [(8, 4, 0.25, 4), (16, 4, 0.5, 8), (6, 4, 0.5, 6), (8, 2, 1, 8)]
)
def test_only_whole_groups_are_sampled_again(rows: int, group: int, share: float, expected: int) -> None:
    assert whole_groups(rows, group, share) == expected


def test_the_temperature_follows_the_entropy_of_the_policy(path: str) -> None:
    hot, cold = trained(tiny.ours(path, aepo(target=5.0))), trained(tiny.ours(path, aepo(target=0.1)))
    assert {row["aepo/temperature"] for row in hot if "aepo/temperature" in row} == {1.2}
    assert {row["aepo/temperature"] for row in cold if "aepo/temperature" in row} == {0.8}
    assert hot[0]["aepo/entropy"] == pytest.approx(3.33, abs=0.05)  # ln 28, nearly
    assert 0 <= hot[0]["aepo/selected"] <= 1


def test_nothing_selected_is_skipped_and_counted(path: str) -> None:
    trainer = tiny.ours(path, aepo(success=2.0))
    seen = watched(trainer)
    logged = trained(trainer)
    assert [row["aepo/selected"] for row in logged if "aepo/selected" in row] and not any(
        row.get("aepo/selected", 0.0) for row in logged
    )
    assert not any(key.startswith(KEY) for output in seen for key in output)


def test_the_released_codes_way_replaces_rows(path: str) -> None:
    trainer = tiny.ours(path, aepo(reference=True, samples=3, margin=0.0, target=5.0, share=1.0), max_steps=4)
    seen = watched(trainer)
    logged = trained(trainer)
    for output in seen:
        assert not any(key.startswith(KEY) for key in output)
        assert int((output["advantages"] == 1.0).sum()) == 3
        assert output["completion_ids"].shape == output["completion_mask"].shape == output["old_per_token_logps"].shape
        assert int(output["num_items_in_batch"]) == int(output["completion_mask"].sum())
    assert all(row["grad_norm"] > 0 for row in logged)
    with pytest.raises(ValueError, match=r"aepo\.reference: true replaces rows"):
        spec = tiny.objective(penalties=[{"aepo": {"reference": True}}, {"kl_ref": {"coef": 0.1}}])
        tiny.ours(path, spec)


def test_statistics_of_the_vocabulary_are_those_of_the_ordinary_rows(path: str) -> None:
    penalties = [{"aepo": {"coef": 0.5, "target": 2.0, "success": 0.15, "share": 1.0}}, {"renyi_bonus": {"coef": 0.1}}]
    trainer = tiny.ours(path, tiny.objective(penalties=penalties), max_steps=4)
    compute, tap, seen, pairs = trainer._compute_loss, trainer._tap, [], []

    def watch(passed: Any, *args: Any) -> None:
        tap(passed, *args)
        seen.append(passed.batch.detached())

    def both(model: Any, inputs: dict[str, Any], *args: Any) -> torch.Tensor:
        loss = compute(model, inputs)
        if f"{KEY}weights" in inputs and (inputs[f"{KEY}weights"] != 0).any():
            compute(model, {key: value for key, value in inputs.items() if not key.startswith(KEY)})
            pairs.append(seen[-2:])
        return loss

    trainer._compute_loss, trainer._tap = both, watch
    trainer.train()
    assert pairs
    for joined, plain in pairs:
        assert joined.extra is not None and joined.sum_p2.shape == joined.logps.shape == plain.sum_p2.shape
        torch.testing.assert_close(joined.sum_p2 * joined.mask, plain.sum_p2 * plain.mask, rtol=1e-4, atol=1e-5)


def test_every_statistic_is_cut_to_the_rows_that_are_asked_for(path: str) -> None:
    trainer = tiny.ours(path, tiny.objective())
    values, cooled = torch.arange(12.0).view(3, 4), {0.8: torch.ones(3, 4), 1.2: torch.zeros(3, 4)}
    trainer.vocabulary._tap = SimpleNamespace(take=lambda length: {"sum_p2": values, "lse": dict(cooled)})  # type: ignore[assignment]
    assert trainer.vocabulary.take(4)["lse"].keys() == cooled.keys()
    cut = trainer.vocabulary.take(4, lambda x: x[:2, :3])
    torch.testing.assert_close(cut, {"sum_p2": values[:2, :3], "lse": {t: x[:2, :3] for t, x in cooled.items()}})
