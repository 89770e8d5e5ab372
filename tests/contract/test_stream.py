"""The stream of prompts in a trainer: which prompts are asked, which groups train, and what TRL hears of it."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from support import tiny
from support.streams import RSR, generations, groups, make, prompts, sparse, texts


def test_where_every_group_teaches_nothing_changes(path: str) -> None:
    runs = []
    for data in ([], [{"dynamic_sampling": {}}]):
        trainer = make(path, data, tiny.digits)
        trainer.train()
        rows = [row for row in trainer.state.log_history if "loss" in row]
        timed = ("step_time", "health", "profiling", "dynamic_sampling")
        runs.append([{k: v for k, v in row.items() if not k.startswith(timed)} for row in rows])
    assert runs[0] == runs[1] and len(runs[0]) == 12


VARIANTS: dict[str, dict[str, Any]] = {
    "two slices": {},
    "exactly on-policy": {"steps_per_generation": 1},
    "several passes": {"num_iterations": 2, "max_steps": 16},
    "accumulation": {"gradient_accumulation_steps": 2, "steps_per_generation": 4},
    "truncated ones masked": {"mask_truncated_completions": True},
    "padded widths": {"pad_to_multiple_of": 8},
}


@pytest.mark.parametrize("how", VARIANTS)
def test_every_group_that_trains_teaches_and_is_whole(path: str, how: str) -> None:
    trainer = make(path, [{"dynamic_sampling": {}}], **VARIANTS[how])
    seen = generations(trainer)
    assert sum(each["told"]["rounds"] for each in seen) > 0 == min(each["told"]["left"] for each in seen)
    for each in seen:
        assert all(len(set(group)) == 1 for group in groups(texts(trainer, each, "prompt")))
        said = list(each["shown"]["completion"])
        whole = each["completion_mask"].amax(1) > 0  # the mask of one that was cut may be empty
        for own, text, kept in zip(texts(trainer, each, "completion"), said, whole.tolist(), strict=True):
            assert own == (text if kept else "")
        rewards = torch.tensor(sparse(said)).view(-1, 4)
        assert torch.equal(each["scores"][:, 0].view(-1, 4), rewards)
        assert (rewards.amax(1) > rewards.amin(1)).float().mean() == pytest.approx(1 - each["told"]["left"])
        expected = (rewards - rewards.mean(1, keepdim=True)) / (rewards.std(1, keepdim=True) + 1e-4)
        torch.testing.assert_close(each["advantages"].view(-1, 4), expected)
        assert int(each["num_items_in_batch"]) == int(each["completion_mask"].sum())
        if "old_per_token_logps" in each:
            assert each["old_per_token_logps"].shape == each["completion_ids"].shape
            torch.testing.assert_close(each["old_per_token_logps"], each["policy"], rtol=1e-4, atol=1e-5)
        assert groups(list(each["shown"]["prompt"])) == groups(texts(trainer, each, "prompt"))
        assert list(each["shown"]["rewards"]["sparse"]) == rewards.flatten().tolist()
        assert list(each["shown"]["advantages"]) == pytest.approx(each["advantages"].tolist(), abs=1e-6)
    assert all(row["grad_norm"] > 0 for row in trainer.state.log_history if "loss" in row) or "masked" in how


def test_trl_logs_and_counts_the_generation_as_it_was_drawn(path: str) -> None:
    """The first generation is the same with and without; the cost of the further ones stands beside it."""
    rows = []
    for data in ([], [{"dynamic_sampling": {}}]):
        trainer = make(path, data, lambda completions, **_: sparse(completions), max_steps=1, seed=4)
        trainer.train()
        rows.append(trainer.state.log_history[0])
    plain, filled = rows
    assert plain["frac_reward_zero_std"] == filled["dynamic_sampling/without_signal"] > 0
    kept = ("reward", "frac_reward", "num_tokens", "completions/", "learning/")
    told = {key for key in plain if key.startswith(kept)}
    assert {key: plain[key] for key in told} == {key: filled[key] for key in told} and len(told) > 12
    assert (
        filled["dynamic_sampling/prompts"] >= filled["dynamic_sampling/rounds"] > 0 == filled["dynamic_sampling/left"]
    )
    # 4 tokens of a prompt, and 1 to 8 of each of its four completions
    assert 4 * 5 <= filled["dynamic_sampling/tokens"] / filled["dynamic_sampling/prompts"] <= 4 * 12
    assert filled["forces/covariance/mean"] != plain.get("forces/covariance/mean")


def never(completions: list[str], **_: Any) -> list[float]:
    return [0.0] * len(completions)


@pytest.mark.parametrize("base", ["grpo", "reinforce_pp"])
def test_what_is_left_after_the_last_round_keeps_its_place_with_advantage_zero(path: str, base: str) -> None:
    half = lambda prompts, completions, **_: [
        r * (p < "3") + (p >= "3") for p, r in zip(prompts, sparse(completions), strict=True)
    ]
    spec = tiny.objective(advantages=[{base: {} if base == "grpo" else {"baseline": "none"}}])
    trainer = make(path, [{"dynamic_sampling": {"max_rounds": 1}}], half, spec, max_steps=16)
    seen = generations(trainer)
    assert any(each["told"]["left"] for each in seen) and any(each["told"]["left"] == 0 for each in seen)
    for each in seen:
        assert each["told"]["rounds"] <= 1 and each["completion_ids"].size(0) == 16
        equal = (each["scores"].view(-1, 4).amax(1) == each["scores"].view(-1, 4).amin(1)).repeat_interleave(4)
        rows = each["advantages"] if each["advantages"].dim() == 1 else each["advantages"].abs().amax(1)
        assert equal.float().mean() == each["told"]["left"] and bool((rows[equal] == 0).all())


def test_a_table_without_a_prompt_that_teaches_ends_in_time(path: str) -> None:
    trainer = make(path, [{"dynamic_sampling": {"max_rounds": 3}}], never, max_steps=2)
    (seen,) = generations(trainer)
    assert seen["told"] | {"tokens": 0} == {
        "without_signal": 1, "left": 1, "rounds": 3, "prompts": 12, "tokens": 0, "discarded": 0,
    }  # fmt: skip
    few = make(path, [{"dynamic_sampling": {"max_rounds": 9}}], never, table=prompts(6), max_steps=2)
    (seen,) = generations(few)
    assert (seen["told"]["rounds"], seen["told"]["prompts"]) == (1, 2)  # the two that were not asked yet


def test_groups_too_many_are_dropped_or_wait_with_the_log_probs_of_their_policy(path: str) -> None:
    (first, *_) = dropped = generations(make(path, RSR[:1], max_steps=16))
    assert any(each["told"]["discarded"] > 0 for each in dropped) and first["told"]["rounds"]
    for how in ({}, {"steps_per_generation": 1}):
        trainer = make(path, RSR, max_steps=16, **how)
        waited, recovered = [], 0
        complete = trainer.stream.completed

        def watch(*args: Any, trainer: Any = trainer, waited: list[Any] = waited, complete: Any = complete) -> Any:
            waited.append(trainer.stream.waiting)
            return complete(*args)

        trainer.stream.completed = watch
        for each, before in zip(generations(trainer), waited, strict=True):
            share = each["told"]["recovered"]
            assert bool(share) is (before is not None)
            if before is None:
                continue
            new, kept = each["completion_ids"], before.bank.tensors
            old = torch.zeros(len(new), dtype=torch.bool)
            for row in range(len(new)):
                width = min(new.size(1), kept["completion_ids"].size(1))
                same = (kept["completion_ids"][:, :width] == new[row, :width]).all(1)
                if same.any():
                    old[row], at = True, int(same.nonzero()[0, 0])
                    torch.testing.assert_close(
                        each["old_per_token_logps"][row, :width], kept["old_per_token_logps"][at, :width]
                    )
            assert old.float().mean() == pytest.approx(share)
            mask = each["completion_mask"]
            gap = ((each["policy"] - each["old_per_token_logps"]).abs() * mask).amax(1)
            assert bool((gap[~old] < 1e-4).all()) and bool((gap[old] > 1e-4).all())  # the policy has moved since
            recovered += 1
        assert recovered > 1


def test_a_group_that_is_too_old_is_not_trained_on(path: str) -> None:
    trainer = make(path, RSR, max_steps=40)
    complete, ages = trainer.stream.completed, []

    def late(*args: Any) -> Any:
        """One time in three the groups that wait are older than they may be."""
        waiting = trainer.stream.waiting
        if waiting is not None:
            shift = len(ages) % 3 == 1
            trainer.stream.waiting = waiting._replace(born=[born - shift for born in waiting.born])
        output = complete(*args)
        ages.append((waiting is not None and len(ages) % 3 == 1, trainer._metrics["train"]["rsr/age"][-1]))
        return output

    trainer.stream.completed = late
    trainer.train()
    assert (True, 0.0) in ages and (False, 1.0) in ages
    assert not any(late and age for late, age in ages)


def test_what_a_generation_was_scored_with_travels_with_its_rows(path: str) -> None:
    """Entropies, vocabulary statistics and the reference's log-probs of rows that took another's place are their own."""
    spec = tiny.objective(
        weights=[{"steer": {"omega": "full"}}, {"high_entropy": {"fraction": 0.5}}],
        penalties=[
            {"kl_ref": {"coef": 0.1}},
            {"entropy_bonus": {"coef": {"pid": {"signal": "entropy_ratio", "target": 0.5, "kp": 0.1}}}},
        ],
    )
    for how in ({}, {"steps_per_generation": 1}):
        trainer = make(path, [{"dynamic_sampling": {}}], spec=spec, max_steps=8, **how)
        batches, rollout = [], trainer._rollout_batch
        trainer._rollout_batch = lambda output, rollout=rollout, batches=batches: (
            batches.append((dict(output), rollout(output))) or batches[-1][1]
        )
        entropies: list[Any] = []
        note = trainer.thermostat.note_generation
        trainer.thermostat.note_generation = lambda batch, ref, note=note, entropies=entropies: (
            entropies.append(ref) or note(batch, ref)
        )
        seen = generations(trainer)
        assert sum(each["told"]["rounds"] for each in seen) > 0
        reference = make(path, [], spec=spec)  # of the same policy at its start
        for (output, batch), ref in zip(batches, entropies, strict=True):
            with torch.no_grad():
                ids, mask = (torch.cat([output[f"prompt_{x}"], output[f"completion_{x}"]], 1) for x in ("ids", "mask"))
                args = (reference.ref_model, ids, mask, output["completion_ids"].size(1))
                logps, entropy, _ = reference._get_per_token_logps_and_entropies(*args, compute_entropy=True)
            keep = batch.mask.bool()
            torch.testing.assert_close(batch.ref_logps[keep], logps[keep], rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(ref[keep], entropy[keep], rtol=1e-4, atol=1e-5)
            # The policy is nearly uniform over 28 characters: its entropy is below their logarithm, and near it.
            assert batch.old_entropy.shape == batch.mask.shape and bool((batch.old_entropy[keep] <= 3.3323).all())


def test_the_entropies_and_answer_keys_of_replaced_rows_are_theirs(path: str) -> None:
    spec = tiny.objective(weights=[{"high_entropy": {"fraction": 0.5}}])
    trainer = make(path, [{"dynamic_sampling": {}}, {"diversity_weighted": {"by": "answers"}}], spec=spec)
    asked: list[list[str]] = []

    def keyed(completions: list[str], **_: Any) -> list[float]:
        asked.append([text[:1] for text in completions])
        return sparse(completions)

    trainer.reward_funcs[0] = keyed
    trainer.answer_keys = lambda: asked[-1]
    batches, score = [], trainer._score
    trainer._score = lambda output, batch: batches.append(batch) or score(output, batch)
    seen = generations(trainer)
    assert sum(each["told"]["rounds"] for each in seen) > 0 and len(asked) > len(seen)
    for each, batch in zip(seen, batches, strict=True):
        assert list(batch.answers) == [text[:1] for text in texts(trainer, each, "completion")]
        assert batch.old_logps is not None
        torch.testing.assert_close(batch.old_logps, each["policy"], rtol=1e-4, atol=1e-5)


def test_a_second_reward_with_a_spread_teaches_where_each_is_normalised_by_itself(path: str) -> None:
    rewards = [sparse, lambda completions, **_: [-r for r in sparse(completions)]]  # their sum is 0
    one = make(path, [{"dynamic_sampling": {"max_rounds": 1}}], rewards, max_steps=2)
    (seen,) = generations(one)
    assert seen["told"]["without_signal"] == 1
    each = make(
        path, [{"dynamic_sampling": {"max_rounds": 1}}], rewards, tiny.objective(advantages=[{"gdpo": {}}]), max_steps=2
    )
    (seen,) = generations(each)
    assert seen["told"]["without_signal"] < 1
