"""verl's own command, ``python -m verl.trainer.main_ppo``, with our trainer, a tiny policy and a rollout that needs no accelerator."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from in_verl.cpu_platform import ENVIRONMENT

from entropostat.verl.config import BLOCK

TESTS = Path(__file__).parents[1]
TEMPLATE = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
REWARD = '''
def compute_score(data_source, solution_str, ground_truth, extra_info=None, **_):
    """The share of digits."""
    return sum(c.isdigit() for c in solution_str) / max(len(solution_str), 1)
'''


def policy() -> Any:
    """No Qwen: of one verl's agent loop asks for its chat tokens."""
    import torch
    from support import tiny
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 2}
    ids = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": None, "tie_word_embeddings": True}
    words = len(tiny.CHARACTERS) + 3
    return LlamaForCausalLM(LlamaConfig(vocab_size=words, max_position_embeddings=64, **sizes, **ids))


def prepared(folder: Path, prompts: int = 16) -> Path:
    """Policy, prompts and reward function. ``folder`` is to be new."""
    import pandas
    from support import tiny

    spoken = tiny.tokenizer()
    spoken.chat_template = TEMPLATE
    policy().save_pretrained(folder / "policy")
    spoken.save_pretrained(folder / "policy")
    rows = [
        {
            "prompt": [{"role": "user", "content": f"{i % 10}+{(3 * i) % 10}="}],
            "data_source": "digits",
            "ability": "none",
            "reward_model": {"style": "rule", "ground_truth": "0"},
            "extra_info": {"index": i, "split": "train"},
        }
        for i in range(prompts)
    ]
    pandas.DataFrame(rows).to_parquet(folder / "prompts.parquet")
    (folder / "reward.py").write_text(REWARD)
    return folder


def overrides(folder: Path, objective: str, steps: int, ranks: int = 1, **more: Any) -> list[str]:
    actor, rollout, ref = ("actor_rollout_ref." + name for name in ("actor", "rollout", "ref"))
    fp32 = "{param_dtype: fp32, reduce_dtype: fp32, buffer_dtype: fp32}"
    given: dict[str, Any] = {
        "trainer.v1.trainer_mode": "entropostat",
        f"{BLOCK}._target_": "entropostat.verl.PolicyLoss",
        f"+{BLOCK}.objective": objective,
        "algorithm.adv_estimator": "grpo",
        "data.train_files": folder / "prompts.parquet",
        "data.val_files": folder / "prompts.parquet",
        "data.train_batch_size": 4,
        "data.max_prompt_length": 16,
        "data.max_response_length": 8,
        "data.dataloader_num_workers": 0,
        "actor_rollout_ref.model.path": folder / "policy",
        "actor_rollout_ref.model.use_remove_padding": "false",
        "+actor_rollout_ref.model.override_config.attn_implementation": "eager",
        f"{actor}.strategy": "fsdp2",
        f"{actor}.ppo_mini_batch_size": 4,
        f"{actor}.ppo_micro_batch_size_per_gpu": 4,
        f"{actor}.use_torch_compile": "false",
        f"{actor}.optim.lr": 3e-3,
        f"{actor}.fsdp_config.model_dtype": "fp32",
        f"{actor}.fsdp_config.dtype": "float32",
        f"+{actor}.fsdp_config.mixed_precision": fp32,
        f"{rollout}.name": "tiny",
        f"{rollout}.n": 4,
        f"{rollout}.tensor_model_parallel_size": 1,
        f"{rollout}.log_prob_micro_batch_size_per_gpu": 4,
        f"{rollout}.agent.num_workers": 1,
        f"{ref}.log_prob_micro_batch_size_per_gpu": 4,
        f"{ref}.strategy": "fsdp2",
        f"{ref}.use_torch_compile": "false",
        f"{ref}.fsdp_config.model_dtype": "fp32",
        "reward.num_workers": 1,
        "reward.custom_reward_function.path": folder / "reward.py",
        "transfer_queue.backend.SimpleStorage.num_data_storage_units": 1,
        "trainer.n_gpus_per_node": ranks,
        "trainer.nnodes": 1,
        "trainer.device": "cpu",
        "trainer.logger": "[console,file]",
        "trainer.val_before_train": "false",
        "trainer.test_freq": -1,
        "trainer.save_freq": -1,
        "trainer.total_epochs": 100,
        "trainer.total_training_steps": steps,
        "trainer.default_local_dir": folder / "checkpoints",
        "ray_kwargs.ray_init.num_cpus": 16 * ranks,
        "+ray_kwargs.ray_init.resources.NPU": ranks,
        "+ray_kwargs.ray_init.include_dashboard": "false",
        "hydra.run.dir": folder / "hydra",
        **more,
    }
    return [f"{key}={value}" for key, value in given.items()]


def command_line(folder: Path, given: list[str]) -> tuple[list[str], dict[str, str]]:
    """With its environment."""
    env = {
        **os.environ,
        "PYTHONPATH": str(TESTS),
        "VERL_USE_EXTERNAL_MODULES": "in_verl.rollout",
        **ENVIRONMENT,
        "VERL_FILE_LOGGER_PATH": str(folder / "metrics.jsonl"),
        "TINY_ROLLOUT": str(folder),
        "RAY_USAGE_STATS_ENABLED": "0",
        "HYDRA_FULL_ERROR": "1",
    }
    return [sys.executable, "-m", "verl.trainer.main_ppo", *given], env


def run(folder: Path, given: list[str], timeout: float = 1000) -> subprocess.CompletedProcess[str]:
    command, env = command_line(folder, given)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=timeout)


if __name__ == "__main__":  # for a look by hand: python -m in_verl.command FOLDER OBJECTIVE STEPS KEY=VALUE ...
    place = Path(sys.argv[1])
    if not place.exists():
        place.mkdir(parents=True)
        prepared(place)
    os.execve(sys.executable, *command_line(place, [*overrides(place, sys.argv[2], int(sys.argv[3])), *sys.argv[4:]]))
