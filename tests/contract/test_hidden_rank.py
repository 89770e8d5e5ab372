"""RankMe of the policy's hidden states in live runs: off by default, on the monitors' clock, of the tokens that are trained on."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from support import tiny
from support.log_history import seeded
from support.monitored import TERMS, halves

from entropostat.recipe.machine_blocks import Tracking
from entropostat.rl.diagnostics.diversity import rankme
from entropostat.rl.reduce import LOCAL
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.watch.hidden import HiddenRank


def make(path: str, tokens: int, every: int = 1, spec: dict[str, Any] | None = None, **changes: Any) -> Any:
    return EntropyGRPOTrainer(
        model=path,
        reward_funcs=halves,
        args=tiny.config(**changes),
        train_dataset=tiny.prompts(),
        objective=spec or tiny.objective(**TERMS),
        tracking=Tracking(rankme=tokens, monitor_every=every),
    )


def test_it_is_off_by_default_and_otherwise_logged_once_in_a_monitored_generation(path: str) -> None:
    assert Tracking().rankme == 0
    ranks = [row.get("state/rankme") for row in seeded(make(path, 16, every=2, max_steps=8))]
    assert [rank is not None for rank in ranks] == [True, False, False, False] * 2
    assert all(1 < rank <= 16 for rank in ranks if rank is not None)
    assert not any("state/rankme" in row for row in seeded(make(path, 16, every=0, max_steps=2)))
    assert not any("state/rankme" in row for row in seeded(make(path, 0, max_steps=2)))


def test_it_changes_nothing_that_trains(path: str) -> None:
    keys = ("loss", "grad_norm", "entropy")
    plain, looked = ([[row[key] for key in keys] for row in seeded(make(path, n, max_steps=4))] for n in (0, 16))
    assert plain == looked


def test_with_enough_tokens_it_is_of_all_of_them_whatever_the_temperature(path: str) -> None:
    spec = tiny.objective(**TERMS) | {"scalars": [("temperature", "temperature", {"value": 2.0})]}
    trainer = make(path, 4000, spec=spec, max_steps=1, gradient_accumulation_steps=2, learning_rate=0.0)
    seen: list[torch.Tensor] = []
    additive = trainer._additive_terms

    def watch(inputs: dict[str, Any], passed: Any) -> Any:
        ids = torch.cat([inputs["prompt_ids"], inputs["completion_ids"]], 1)
        attention = torch.cat([inputs["prompt_mask"], inputs["completion_mask"]], 1)
        with torch.no_grad():
            states = trainer.model.model(ids, attention).last_hidden_state[:, -inputs["completion_ids"].size(1) :]
        seen.append(states[passed.batch.valid])
        return additive(inputs, passed)

    trainer._additive_terms = watch
    (row,) = seeded(trainer)
    assert len(seen) == 2 and row["state/rankme"] == pytest.approx(float(rankme(torch.cat(seen))), rel=1e-4)


def test_rows_that_join_the_forward_are_not_among_them(path: str) -> None:
    spec = tiny.objective(penalties=[{"aepo": {"coef": 0.5, "target": 2.0, "success": 0.4, "share": 0.5}}])
    rows = seeded(make(path, 16, spec=spec, max_steps=4))
    assert any("state/rankme" in row for row in rows)


class Accumulating:
    """A trainer as far as the sample looks at one."""

    current_gradient_accumulation_steps = 2


@pytest.mark.parametrize(("tokens", "taken"), [(5, [0, 4, 8, 0, 6]), (100, [*range(12), *range(12)])])
def test_the_sample_is_spread_over_the_completions_and_never_larger_than_asked(tokens: int, taken: list[int]) -> None:
    rank = HiddenRank(Accumulating(), tokens, LOCAL)
    rank.begin()
    mask = torch.zeros(3, 6)
    mask[:, 1:5] = 1
    for _ in range(2):
        states = torch.zeros(4, 7, 2)  # one row and one column too many
        states[:3, :6, 0][mask.bool()] = torch.arange(12.0)
        rank._states = [states[:1], states[1:]]
        rank.sample(mask)
    assert torch.cat(rank._taken)[:, 0].int().tolist() == taken
    rank.close()
    assert not rank.on


@pytest.mark.parametrize(("state", "valid"), [(1.0, 0.0), (math.nan, 1.0), (math.inf, 1.0)])
def test_without_a_token_or_with_a_broken_one_there_is_no_number(state: float, valid: float) -> None:
    rank = HiddenRank(Accumulating(), 4, LOCAL)
    rank.begin()
    rank._states = [torch.full((2, 3, 5), state)]
    rank.sample(torch.full((2, 3), valid))
    assert math.isnan(rank.close())
