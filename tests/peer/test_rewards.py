"""Rewards of every form that TRL takes: ours trains on what stock trains on, and logs what stock logs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from support import pairs, standins, tiny
from transformers import AutoModelForSequenceClassification, AutoTokenizer

digits = tiny.digits
CHATS = [[{"role": "user", "content": f"{i} and {3 * i}?"}] for i in range(8)]


def length(completions: list[str], **_: Any) -> list[float]:
    return [float(len(text)) for text in completions]


async def vowels(completions: list[str], **_: Any) -> list[float]:
    await asyncio.sleep(0)
    return [sum(c in "aeiou" for c in text) / 4 for text in completions]


def sometimes(completions: list[str], **_: Any) -> list[float | None]:
    """None on the first of every batch, and on whatever ends in a letter."""
    scores: list[float | None] = [None if text[-1:].isalpha() else len(text) / 8 for text in completions]
    return [None, *scores[1:]]


def never(completions: list[str], **_: Any) -> list[None]:
    return [None] * len(completions)


def first_prompt_only(prompts: list[str], completions: list[str], **_: Any) -> list[float | None]:
    """None on every completion of all groups but one."""
    return [len(c) / 8 if p == prompts[0] else None for p, c in zip(prompts, completions, strict=True)]


def whole_numbers(completions: list[str], **_: Any) -> list[int]:
    return [sum(map(ord, text)) % 3 for text in completions]


def by_column(completions: list[str], answer: list[str], trainer_state: Any, **_: Any) -> list[float]:
    late = 0.1 * trainer_state.global_step
    return [late + sum(c == a for c in text) for text, a in zip(completions, answer, strict=True)]


def telling(completions: list[str], log_extra: Any, log_metric: Any, **_: Any) -> list[float]:
    log_extra("size", [len(text) for text in completions])
    log_metric("letters", sum(map(str.isalpha, "".join(completions))) / len(completions))
    return digits(completions)


def by_ids(completion_ids: list[list[int]], **_: Any) -> list[float]:
    return [sum(ids) / 100 for ids in completion_ids]


def in_chat(completions: list[list[dict[str, str]]], **_: Any) -> list[float]:
    return digits([turns[-1]["content"] for turns in completions])


def setup(reward: Any, **changes: Any) -> pairs.Setup:
    dataset = tiny.prompts(8).add_column("answer", [str(i) for i in range(8)])
    own = {key: changes.pop(key) for key in ("train_dataset", "reward_processing_classes") if key in changes}

    def make() -> dict[str, Any]:
        made = {key: value() if callable(value) else value for key, value in own.items()}
        funcs = reward() if getattr(reward, "__name__", "") == "<lambda>" else reward
        return {
            "model": standins.saved("qwen2"), "reward_funcs": funcs, "train_dataset": dataset, "args": changes, **made,
        }  # fmt: skip

    return make


def loaded() -> Any:
    return AutoModelForSequenceClassification.from_pretrained(standins.saved("scorer"), num_labels=1)


def reading() -> Any:
    return AutoTokenizer.from_pretrained(standins.saved("scorer"))


CASES: dict[str, Callable[[], pairs.Setup]] = {
    "one function": lambda: setup(digits),
    "whole numbers": lambda: setup(whole_numbers),
    "an async function": lambda: setup(vowels),
    "both kinds, several weights": lambda: setup([digits, vowels, length], reward_weights=[1.0, 0.5, -0.1]),
    "None here and there": lambda: setup(sometimes),
    "None here and there beside one that always scores": lambda: setup([sometimes, digits]),
    "None on all but one group": lambda: setup(first_prompt_only),
    "None on every completion, from one of two": lambda: setup([never, digits]),
    "a weight of 0": lambda: setup([digits, length], reward_weights=[1.0, 0.0]),
    "only a weight of 0 could score it": lambda: setup([sometimes, digits], reward_weights=[1.0, 0.0]),
    "nothing could score it, and one has weight 0": lambda: setup([sometimes, never], reward_weights=[1.0, 0.0]),
    "all weights 0": lambda: setup([digits, length], reward_weights=[0.0, 0.0]),
    "columns of the dataset and the trainer's state": lambda: setup(by_column),
    "columns and metrics of its own": lambda: setup(telling, log_completions=True),
    "the ids of the completion": lambda: setup(by_ids),
    "conversations": lambda: setup(in_chat, train_dataset=tiny.Dataset.from_dict({"prompt": CHATS})),
    "a model by its folder": lambda: setup(lambda: standins.saved("scorer")),
    "a model": lambda: setup(lambda: loaded()),
    "a model with a tokenizer": lambda: setup(lambda: [loaded()], reward_processing_classes=lambda: [reading()]),
    "models and functions with their tokenizers": lambda: setup(
        lambda: [loaded(), digits, standins.saved("scorer")],
        reward_processing_classes=lambda: [reading(), None, None], reward_weights=[1.0, 2.0, 0.5],
    ),
    "a model on conversations": lambda: setup(
        lambda: [standins.saved("scorer"), in_chat], train_dataset=tiny.Dataset.from_dict({"prompt": CHATS})
    ),
    "scaled by the batch": lambda: setup([sometimes, digits], reward_weights=[1.0, 0.0], scale_rewards="batch"),
    "not scaled": lambda: setup([sometimes, length], reward_weights=[1.0, 0.0], scale_rewards="none"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_ours_trains_on_what_stock_trains_on(case: str) -> None:
    own = case in ("one function", "None here and there beside one that always scores")
    pairs.agree(CASES[case](), own=own, still=case == "all weights 0")


def test_the_completions_table_is_stocks() -> None:
    make = CASES["columns and metrics of its own"]()
    stock, ours = pairs.agree(make, own=False)
    assert {k: list(v) for k, v in stock._logs["rewards"].items()} == {
        k: list(v) for k, v in ours._logs["rewards"].items()
    }
    assert list(stock._logs["extra"]["size"]) == list(ours._logs["extra"]["size"])
    assert list(stock._logs["advantages"]) == list(ours._logs["advantages"])
