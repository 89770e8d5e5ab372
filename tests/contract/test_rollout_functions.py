"""Rollout functions and images beside what samples at a temperature of its own: refused before anything is generated."""

from __future__ import annotations

import functools
from typing import Any

import pytest
from datasets import Dataset, IterableDataset
from support import tiny
from trl import GRPOTrainer

from entropostat.trainers.grpo import EntropyGRPOTrainer


def make(objective: Any = None, rollout_func: Any = None, train_dataset: Any = None, **changes: Any) -> Any:
    return EntropyGRPOTrainer(
        model=tiny.model(),
        reward_funcs=tiny.digits,
        args=tiny.config(**changes),
        processing_class=tiny.tokenizer(),
        train_dataset=train_dataset or tiny.prompts(),
        objective=objective or tiny.objective(),
        rollout_func=rollout_func,
    )


TEMPERATURE = {"temperature": 0.5, "schedule": {"schedule": {"points": [[0, 1.0], [4, 0.5]]}}}


def rollout(prompts: list[Any], trainer: Any) -> dict[str, Any]:
    rows = len(prompts)
    return {"prompt_ids": [[3]] * rows, "completion_ids": [[5, 1]] * rows, "logprobs": [[0.0, 0.0]] * rows}


@pytest.mark.parametrize("value", TEMPERATURE.values(), ids=TEMPERATURE)
def test_a_rollout_function_that_would_not_hear_of_the_temperature_is_refused(value: Any) -> None:
    spec = tiny.objective() | {"scalars": [("temperature", "temperature", {"value": value})]}
    with pytest.raises(ValueError, match=r"^objective.scalars.temperature: rollout_func samples at a temperature") as e:
        make(objective=spec, rollout_func=rollout)
    assert "\n" not in str(e.value)


def test_a_rollout_function_and_a_second_rollout_are_refused() -> None:
    with pytest.raises(ValueError, match=r"^objective.penalties.aepo: rollout_func samples at a temperature"):
        make(objective=tiny.objective(penalties=["aepo"]), rollout_func=rollout)


def test_a_rollout_function_alone_trains() -> None:
    trainer = make(rollout_func=rollout)
    trainer.train()
    assert trainer.state.global_step == 2


TALK = [{"role": "user", "content": "look"}]
PICTURE = [{"role": "user", "content": [{"type": "image", "image": "x"}, {"type": "text", "text": "look"}]}]
ROWS: dict[str, tuple[list[dict[str, Any]], bool]] = {
    "a column of images": ([{"prompt": TALK, "image": "x"}] * 4, True),
    "a column of lists": ([{"prompt": TALK, "images": []}, {"prompt": TALK, "images": ["x"]}] * 2, True),
    "images in the messages": ([{"prompt": PICTURE}] * 4, True),
    "text": ([{"prompt": TALK}] * 4, False),
    "plain text": ([{"prompt": "1+1="}] * 4, False),
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("case", ROWS)
def test_images_and_a_second_rollout_are_refused_before_the_first_generation(
    case: str, streamed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows, refused = ROWS[case]
    build = GRPOTrainer.__init__

    @functools.wraps(build)
    def with_eyes(self: Any, *args: Any, **kwargs: Any) -> None:
        build(self, *args, **kwargs)
        self._is_vlm = True

    monkeypatch.setattr(GRPOTrainer, "__init__", with_eyes)
    data = IterableDataset.from_generator(lambda: iter(rows)) if streamed else Dataset.from_list(rows)
    spec = {"train_dataset": data, "max_steps": 1}
    assert make(**spec)._is_vlm
    if refused:
        with pytest.raises(ValueError, match=r"^objective.penalties.aepo: completions with images cannot be sampled"):
            make(objective=tiny.objective(penalties=["aepo"]), **spec)
    else:
        make(objective=tiny.objective(penalties=["aepo"]), **spec)
