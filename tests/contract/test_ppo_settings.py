"""What a config of PPO may say, and what cannot work with a critic."""

from __future__ import annotations

from typing import Any

import pytest
from support import tiny
from trl import GRPOConfig

from entropostat.recipe.blocks import Critic
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.trl.ppo_config import PPOConfig


def test_trl_refuses_one_completion_per_prompt_and_our_config_does_not(path: str) -> None:
    """Red where TRL moves the check, or begins to read the number elsewhere."""
    with pytest.raises(ValueError, match="at least 2 generations per prompt"):
        tiny.config(GRPOConfig, num_generations=1)
    for sizes in ({"per_device_train_batch_size": 3, "steps_per_generation": 1}, {"steps_per_generation": 3}):
        args = tiny.ppo_config(**sizes)
        assert (args.num_generations, args.num_generations_eval) == (1, 1)
        assert args.generation_batch_size == args.per_device_train_batch_size * args.steps_per_generation
    assert PPOConfig(output_dir="x", use_cpu=True, bf16=False).num_generations == 1
    grouped = tiny.ppo_config(num_generations=4)
    assert (grouped.num_generations, grouped.num_generations_eval) == (4, None)
    with pytest.raises(ValueError, match="must be divisible by num_generations"):
        tiny.ppo_config(num_generations=3)
    trainer = tiny.ppo(path, args=tiny.ppo_config(per_device_train_batch_size=3, steps_per_generation=1))
    trainer.train()
    assert trainer.num_generations == 1 and len(set(trainer._logs["prompt"])) == 3


def test_evaluation_of_trl_scores_with_the_critic(path: str) -> None:
    trainer = EntropyPPOTrainer(
        model=path, reward_funcs=tiny.digits, args=tiny.ppo_config(per_device_eval_batch_size=4),
        train_dataset=tiny.prompts(), eval_dataset=tiny.prompts(4), objective=tiny.objective(**tiny.GAE),
    )  # fmt: skip
    assert "eval_critic/explained_variance" in trainer.evaluate()


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another estimator": (
        {"spec": {"advantages": ["grpo"]}},
        r"objective.advantages: grpo comes first, .* use \[gae: \{\}\]",
    ),
    "no estimator": ({"spec": {"advantages": []}}, r"objective.advantages: none comes first"),
    "a reference that TRL moves": (
        {"sync_ref_model": True},
        r"sync_ref_model: true pairs .* use .*kl_ref\.reference: ema",
    ),
    "adapters on a trunk of its own": (
        {"critic": Critic(trunk="separate"), "peft_config": tiny.LORA},
        r"critic.trunk: separate would copy the adapters; use shared",
    ),
    "rows that are replaced": (
        {"spec": {**tiny.GAE, "penalties": [{"aepo": {"reference": True}}]}},
        r"objective.penalties.aepo.reference: true replaces rows",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_work_is_refused_with_the_fix(path: str, case: str) -> None:
    options, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        tiny.ppo(path, **options)


def test_fsdp_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    init = EntropyGRPOTrainer.__init__

    def sharded(self: Any, *args: Any, **kwargs: Any) -> None:
        init(self, *args, **kwargs)
        self.is_fsdp_enabled = True

    monkeypatch.setattr(EntropyGRPOTrainer, "__init__", sharded)
    with pytest.raises(ValueError, match=r"trainer.kind: ppo is not supported under FSDP; use ddp or a zero strategy"):
        tiny.ppo(path)


def test_gae_without_a_critic_says_what_is_missing(path: str) -> None:
    with pytest.raises(ValueError, match=r"batch\.old_values"):
        tiny.ours(path, tiny.objective(**tiny.GAE)).train()
