"""Updates, schedules, losses, evaluation and resumed runs: step for step what stock does."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset, IterableDataset
from support import pairs, standins, tiny
from support.log_history import step_rows
from transformers import TrainerCallback


def reward(completions: list[str], **_: Any) -> list[float]:
    return [len(text) % 5 + text.count("e") / 2 for text in completions]


def rollout(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """Six tokens each. A mean over the micro-batches of a step is then one over its tokens, as ours is and TRL's is not."""
    drawn = torch.Generator().manual_seed(100 + trainer.state.global_step + 1000 * trainer.model.training)
    ids = [torch.randint(20, 60, (6,), generator=drawn).tolist() for _ in prompts]
    asked = [trainer.processing_class.encode(prompt) for prompt in prompts]
    return {"prompt_ids": asked, "completion_ids": ids, "logprobs": [[-3.0] * 6 for _ in prompts]}


def cut(prompts: list[str], trainer: Any) -> dict[str, Any]:
    """The same, three in four of which end by themselves."""
    rolled = rollout(prompts, trainer)
    ids = [[*row[:-1], standins.END] if i % 4 else row for i, row in enumerate(rolled["completion_ids"])]
    return rolled | {"completion_ids": ids}


def setup(data: Any = tiny.prompts, roll: Any = None, **changes: Any) -> pairs.Setup:
    own = {key: changes.pop(key) for key in ("eval_dataset", "optimizers", "callbacks") if key in changes}

    def make() -> dict[str, Any]:
        made = {key: value() for key, value in own.items()}
        rest = {"rollout_func": roll} if roll else {}
        return {
            "model": standins.saved("qwen2"), "reward_funcs": reward, "train_dataset": data(), "args": dict(changes),
            **made, **rest,
        }  # fmt: skip

    return make


def stream() -> IterableDataset:
    def prompts() -> Iterator[dict[str, str]]:
        for i in itertools.count():
            yield {"prompt": f"{i % 10}+1="}

    return IterableDataset.from_generator(prompts)


class Quiet(TrainerCallback):
    """Evaluates at the end of the second step."""

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> Any:
        control.should_evaluate = state.global_step == 2
        return control


EVEN: dict[str, Any] = {"roll": rollout, "gradient_accumulation_steps": 2, "steps_per_generation": 4}
CASES: dict[str, Callable[[], pairs.Setup]] = {
    "one update a generation": lambda: setup(steps_per_generation=1),
    "accumulated": lambda: setup(**EVEN),
    "accumulated over a generation": lambda: setup(roll=rollout, gradient_accumulation_steps=2, steps_per_generation=2),
    "accumulated across generations": lambda: setup(roll=rollout, gradient_accumulation_steps=3, steps_per_generation=2),
    "twice over": lambda: setup(num_iterations=2, max_steps=5),
    "a warm-up and a cosine": lambda: setup(lr_scheduler_type="cosine", warmup_steps=2),
    "whole epochs": lambda: setup(lambda: tiny.prompts(4), max_steps=-1, num_train_epochs=2, shuffle_dataset=False),
    "a stream": lambda: setup(stream),
    "logged every third step": lambda: setup(logging_steps=3, max_steps=6),
    "another sampler": lambda: setup(temperature=0.7, top_p=0.9, top_k=20, repetition_penalty=1.1),
    "cut completions masked": lambda: setup(roll=cut, mask_truncated_completions=True),
    "a reference": lambda: setup(beta=0.1),
    "a reference that follows": lambda: setup(
        beta=0.1, sync_ref_model=True, ref_model_sync_steps=2, ref_model_mixup_alpha=0.5
    ),
    "a reference and a corrected KL": lambda: setup(beta=0.1, use_bias_correction_kl=True),
    "TRL's own bonus": lambda: setup(entropy_coef=0.05),
    "TRL's own adaptive bonus": lambda: setup(use_adaptive_entropy=True, entropy_target=4.0, entropy_coef_delta=0.02),
    "the most uncertain tokens": lambda: setup(top_entropy_quantile=0.4),
    "evaluated": lambda: setup(
        eval_dataset=lambda: tiny.prompts(4), eval_strategy="steps", eval_steps=2, eval_on_start=True,
        num_generations_eval=2, per_device_eval_batch_size=2,
    ),
    "evaluated by a callback on two sets": lambda: setup(
        eval_dataset=lambda: {"a": tiny.prompts(4), "b": Dataset.from_dict({"prompt": ["9=", "8="]})},
        callbacks=lambda: [Quiet()], per_device_eval_batch_size=4,
    ),
    "bounds for off-policy sequences": lambda: setup(off_policy_mask_threshold=0.01, num_iterations=2),
    **{
        f"{kind}, {level}": lambda kind=kind, level=level: setup(loss_type=kind, importance_sampling_level=level, epsilon=0.01)
        for kind in ("grpo", "bnpo", "dr_grpo", "luspo", "sapo", "vespo") for level in ("token", "sequence")
        if kind not in ("sapo", "vespo") or level == "token"
    },
    "cispo": lambda: setup(loss_type="cispo", epsilon_high=1.05),
}  # fmt: skip
OWN = (
    "one update a generation", "accumulated", "accumulated across generations", "twice over", "a reference", "evaluated",
    "cut completions masked",
)  # fmt: skip


@pytest.mark.parametrize("case", CASES)
@pytest.mark.filterwarnings("ignore")
def test_ours_does_what_stock_does(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRL_EXPERIMENTAL_SILENCE", "1")
    pairs.agree(CASES[case](), own=case in OWN)


def test_an_optimizer_and_a_schedule_that_are_given_are_used() -> None:
    def make() -> dict[str, Any]:
        settings = setup()()
        model = standins.model_of("qwen2")
        optimizer = torch.optim.SGD(model.parameters(), lr=0.3, momentum=0.9)
        schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1 / (1 + step))
        return settings | {
            "model": model,
            "processing_class": standins.tokenizer(),
            "optimizers": (optimizer, schedule),
        }

    stock, _ = pairs.agree(make)
    rates = [row["learning_rate"] for row in step_rows(stock)]
    assert rates == pytest.approx([0.3, 0.15, 0.1])


def test_evaluation_before_and_after_training_is_stocks() -> None:
    def train(trainer: Any) -> None:
        trainer.evaluate()
        trainer.train()
        trainer.evaluate(eval_dataset=tiny.prompts(2), metric_key_prefix="test")

    stock, _ = pairs.agree(setup(eval_dataset=lambda: tiny.prompts(4)), own=False, train=train)
    assert len(stock.state.log_history) == 5


def test_a_resumed_run_goes_on_as_stock_does(tmp_path: Path) -> None:
    """At the end of a generation: in the middle of one, stock throws it away and ours goes on with it."""

    def train(trainer: Any) -> None:
        trainer.args.output_dir = str(tmp_path / f"{type(trainer).__name__}-{len(list(tmp_path.iterdir()))}")
        trainer.train()
        (checkpoint,) = Path(trainer.args.output_dir).glob("checkpoint-2")
        trainer.state.log_history.clear()
        torch.manual_seed(5)
        trainer.train(resume_from_checkpoint=str(checkpoint))

    pairs.agree(setup(save_strategy="steps", save_steps=2, max_steps=4), train=train)
