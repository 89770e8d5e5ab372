"""`gdpo` is TRL's multi_objective_aggregation: normalize_then_sum, bit for bit, in live runs."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny
from support.log_history import step_rows
from transformers import set_seed
from trl import GRPOTrainer

from entropostat.recipe.blocks import Shaping
from entropostat.rl.control import Control
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.trl.config import configure

RUN: dict[str, Any] = {"max_steps": 4, "num_iterations": 2}


def letters(completions: list[str], **_: Any) -> list[float]:
    return [100.0 * sum(c.isalpha() for c in text) for text in completions]


def sometimes(completions: list[str], **_: Any) -> list[float | None]:
    """None, as a reward that does not apply: for whole groups, for parts of them, for all but one."""
    return [None if len(text.strip()) % 3 == 0 or "a" in text else float(text.count("1")) for text in completions]


def never(completions: list[str], **_: Any) -> list[float | None]:
    return [None] * len(completions)


SETS: dict[str, tuple[list[Any], list[float]]] = {
    "two": ([tiny.digits, letters], [1.0, 0.5]),
    "missing values": ([tiny.digits, sometimes, letters], [0.3, 2.0, -0.7]),
    "missing in full": ([sometimes, sometimes], [1.0, 0.25]),
    "one": ([tiny.digits], [1.0]),
    "one that is never there": ([tiny.digits, never], [1.0, 1.0]),
}


def trained(trainer: Any) -> tuple[list[float], list[tuple[float, ...]]]:
    set_seed(1)
    trainer.train()
    keys = ("loss", "grad_norm", "reward", "reward_std", "frac_reward_zero_std")
    rows = [tuple(row[key] for key in keys if key in row) for row in step_rows(trainer)]
    return [float(value) for value in trainer._logs["advantages"]], rows


@pytest.mark.filterwarnings("ignore:All reward functions returned None")
@pytest.mark.parametrize("case", SETS)
def test_advantages_loss_and_log_are_trls_own(path: str, case: str) -> None:
    functions, weights = SETS[case]
    parts: dict[str, Any] = {"model": path, "reward_funcs": functions, "train_dataset": tiny.prompts()}
    asked = {**RUN, "reward_weights": weights}
    stock = GRPOTrainer(args=tiny.config(**asked, multi_objective_aggregation="normalize_then_sum"), **parts)
    want, rows = trained(stock)
    ours = EntropyGRPOTrainer(args=tiny.config(**asked), objective=tiny.objective(advantages=["gdpo"]), **parts)
    assert ours.multi_objective_aggregation == "normalize_then_sum"
    got, mine = trained(ours)
    assert got == want and any(value != 0 for value in want)
    assert mine == rows


def test_the_advantages_that_train_are_the_terms_and_not_those_that_trl_computes_beside(path: str) -> None:
    functions, weights = SETS["missing values"]
    parts: dict[str, Any] = {"model": path, "reward_funcs": functions, "train_dataset": tiny.prompts()}
    runs = []
    for aggregation in ("normalize_then_sum", "sum_then_normalize"):
        args = tiny.config(**RUN, reward_weights=weights)
        trainer = EntropyGRPOTrainer(args=args, objective=tiny.objective(advantages=["gdpo"]), **parts)
        trainer.multi_objective_aggregation = aggregation
        advantages, rows = trained(trainer)
        runs.append((advantages, [row[:2] for row in rows]))
    assert runs[0] == runs[1]


def test_shaping_beside_it_is_refused(path: str) -> None:
    with pytest.raises(ValueError, match="shaping: changes the sum of the rewards, and gdpo normalises each by itself"):
        EntropyGRPOTrainer(
            model=path, reward_funcs=tiny.digits, args=tiny.config(), train_dataset=tiny.prompts(),
            objective=tiny.objective(advantages=["gdpo"]), shaping=Shaping(clip=1.0),
        )  # fmt: skip


@pytest.mark.parametrize(("term", "written"), [("gdpo", "normalize_then_sum"), ("grpo", "sum_then_normalize")])
def test_trls_config_says_what_the_objective_does(term: str, written: str) -> None:
    control = Control.build(tiny.objective(advantages=[term]))
    assert configure(tiny.config(), control).multi_objective_aggregation == written
