"""Tools, environments and rollout functions: what they put into a completion is masked, scored and logged as by stock."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import pytest
import torch
from datasets import Dataset
from support import pairs, standins
from support.log_history import step_rows

ASKED = [[{"role": "user", "content": f"What is {i} times {i + 1}?"}] for i in range(4)]
TURNS = (
    '<tool_call>\n{"name": "multiply", "arguments": {"a": 3, "b": 4}}\n</tool_call>',
    '<tool_call>\n{"name": "multiply", "arguments": {"a": 3, "c": 4}}\n</tool_call>',
    '<tool_call>\n{"name": "multiply"\n</tool_call>',
    "I know no tool",
)
"""A call, one with a wrong argument, one that is no JSON, and none."""
STEPS = (
    '<tool_call>\n{"name": "increment", "arguments": {"step": 2}}\n</tool_call>',
    '<tool_call>\n{"name": "decrement", "arguments": {"step": 2}}\n</tool_call>',
    '<tool_call>\n{"name": "increment", "arguments": {"step": 5}}\n</tool_call>',
    "I do nothing",
)


def multiply(a: int, b: int) -> int:
    """
    Multiplies two integers.

    Args:
        a: The first integer.
        b: The second integer.

    Returns:
        The product.
    """
    return a * b


@functools.wraps(multiply)
async def async_multiply(a: int, b: int) -> int:
    return multiply(a, b)


class Counter:
    def reset(self, **_: Any) -> str:
        self.count = 0
        return " Count."

    def increment(self, step: int) -> int:
        """
        Raise the counter.

        Args:
            step: By how much.

        Returns:
            Its value.
        """
        self.count += step
        return self.count


class Judge(Counter):
    def get_reward(self) -> float:
        return float(self.count)


class Patient(Judge):
    async def get_reward(self) -> float:
        return float(self.count)


class Owner(Judge):
    """Whose data comes from its own reset."""

    def reset(self, **_: Any) -> str:
        self.count = 0
        return "Raise the counter."


def answered(completions: list[list[dict[str, Any]]], **_: Any) -> list[float]:
    return [len(str(turns)) % 7 + len(turns) for turns in completions]


def scripted(turns: tuple[str, ...]) -> Callable[[Any], None]:
    """Puts a generation in the place of the model's: ``turns`` by row, and a last word after a tool has answered."""

    def prepare(trainer: Any) -> None:
        tokens, answer = trainer._tokenizer, standins.VOCABULARY.index("<tool_response>")

        def generate(input_ids: torch.Tensor, **_: Any) -> torch.Tensor:
            words = [
                "So it is done" if answer in ids[-80:] else turns[row % len(turns)]
                for row, ids in enumerate(input_ids.tolist())
            ]
            ids = [[*tokens.encode(word, add_special_tokens=False), standins.END] for word in words]
            width = max(map(len, ids))
            said = torch.tensor([[*row, *[standins.PAD] * (width - len(row))] for row in ids])
            return torch.cat([input_ids, said], dim=1)

        trainer.model.generate = generate

    return prepare


def setup(turns: tuple[str, ...], reward: Any = answered, data: Any = None, **own: Any) -> pairs.Setup:
    # Steps of SGD small enough that the two tokens of a script that matter do not drown in the others.
    changes = {
        "max_completion_length": 160, "learning_rate": 0.05, "steps_per_generation": 1, "max_steps": 2, **own.pop("args", {}),
    }  # fmt: skip
    dataset = {} if data is False else {"train_dataset": Dataset.from_dict(data or {"prompt": ASKED})}
    return lambda: {
        "model": standins.saved("qwen3"), "reward_funcs": reward, "args": dict(changes), "prepare": scripted(turns),
        **dataset, **own,
    }  # fmt: skip


def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Three to six tokens at random; a tool wrote the second. With a score of its own for the reward."""
    drawn = torch.Generator().manual_seed(100 + trainer.state.global_step)
    lengths = torch.randint(3, 7, (len(prompts),), generator=drawn).tolist()
    ids = [torch.randint(20, 60, (n,), generator=drawn).tolist() for n in lengths]
    asked = [trainer.processing_class.encode(prompt) for prompt in prompts]
    return {
        "prompt_ids": asked, "completion_ids": ids, "logprobs": [[-3.0] * n for n in lengths],
        "env_mask": [[1, 0, *[1] * (n - 2)] for n in lengths], "score": [float(sum(x) % 5) for x in ids],
    }  # fmt: skip


def scored(score: list[float], completions: list[str], **_: Any) -> list[float]:
    return score


CASES: dict[str, pairs.Setup] = {
    "a tool": setup(TURNS, tools=[multiply]),
    "an async tool, and a limit of calls": setup(TURNS, tools=[async_multiply], args={"max_tool_calling_iterations": 1}),
    "a tool, and answers cut off": setup(
        TURNS, tools=[multiply], args={"max_completion_length": 90, "mask_truncated_completions": True}
    ),
    "an environment": setup(STEPS, environment_factory=Counter),
    "an environment with a reward": setup(STEPS, reward=None, environment_factory=Judge),
    "an environment with an async reward beside a function": setup(STEPS, environment_factory=Patient),
    "an environment that owns its data": setup(STEPS, reward=None, environment_factory=Owner, data=False),
    "several environments": setup(
        STEPS, environment_factory={"judged": Judge, "plain": Counter},
        data={"prompt": ASKED, "environment": ["judged", "plain"] * 2},
    ),
    "a rollout function": lambda: {
        "model": standins.saved("qwen2"), "reward_funcs": scored, "rollout_func": rollout,
        "train_dataset": Dataset.from_dict({"prompt": [f"{i}?" for i in range(8)]}),
    },
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_ours_trains_on_what_stock_trains_on(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    stock, _ = pairs.agree(CASES[case], own=case in ("a tool", "an environment with a reward", "a rollout function"))
    logged = step_rows(stock)
    if "environment" in case or "tool" in case:
        assert logged[0]["tools/call_frequency"] > 0 and logged[0]["tools/failure_frequency"] > 0
