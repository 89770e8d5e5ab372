"""A rollout for verl that needs no accelerator: one Ray actor samples from the policy with transformers, token by token.

    VERL_USE_EXTERNAL_MODULES=in_verl.rollout VERL_PLATFORM=cpu ... actor_rollout_ref.rollout.name=tiny

Weights go from the trainer to it by way of a file in the folder TINY_ROLLOUT.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ray
import torch
from in_verl import cpu_platform  # noqa: F401  registers the platform
from verl.workers.rollout import base
from verl.workers.rollout.base import BaseRollout
from verl.workers.rollout.replica import RolloutReplica, RolloutReplicaRegistry, TokenOutput


def weights_file() -> Path:
    return Path(os.environ["TINY_ROLLOUT"]) / "weights.pt"


class TinyRollout(BaseRollout):
    """Beside the actor in its worker, which builds its engine first."""

    async def resume(self, tags: list[str]) -> None:
        """Nothing is ever put aside."""

    async def release(self) -> None:
        """Likewise."""

    async def update_weights(self, weights: Any, wire_format: str = "named_tensors", **told: Any) -> None:
        state = {name: tensor.detach().float().clone() for name, tensor in weights}
        if torch.distributed.get_rank() == 0:
            new = weights_file().with_suffix(".new")
            torch.save({"state": state, "step": told.get("global_steps")}, new)
            new.rename(weights_file())


@ray.remote(num_cpus=0)
class Sampler:
    def __init__(self, path: str, longest: int, seed: int) -> None:
        from transformers import AutoModelForCausalLM

        torch.set_num_threads(1)
        self.model = AutoModelForCausalLM.from_pretrained(path).float().eval()
        self.longest, self.step, self.read = longest, 0, 0.0
        self.generator = torch.Generator().manual_seed(seed)

    def _newest(self) -> None:
        file = weights_file()
        if file.is_file() and (written := file.stat().st_mtime) != self.read:
            saved = torch.load(file, weights_only=True)
            self.model.load_state_dict(saved["state"], strict=False)
            self.step, self.read = saved["step"], written

    async def generate(
        self, request_id: str, prompt_ids: list[int], sampling_params: dict[str, Any], **_: Any
    ) -> TokenOutput:
        self._newest()
        temperature = sampling_params.get("temperature") or 0.0
        ids, logps = list(prompt_ids), []
        with torch.no_grad():
            for _ in range(self.longest):
                scores = self.model(torch.tensor([ids])).logits[0, -1].double()
                likely = torch.log_softmax(scores / temperature if temperature else scores, 0)
                token = (
                    int(torch.multinomial(likely.exp(), 1, generator=self.generator))
                    if temperature
                    else int(likely.argmax())
                )
                ids.append(token)
                logps.append(float(likely[token]))
                if token == self.model.config.eos_token_id:
                    break
        told = {"global_steps": self.step}
        return TokenOutput(
            token_ids=ids[len(prompt_ids) :], log_probs=logps, stop_reason="completed", extra_fields=told
        )

    async def nothing(self, **_: Any) -> None:
        """Sleeping, waking up, caches, profiles: there is none of it."""

    wake_up = sleep = abort_all_requests = resume_generation = nothing
    clear_kv_cache = release_kv_cache = resume_kv_cache = start_profile = stop_profile = nothing


class TinyReplica(RolloutReplica):
    async def launch_servers(self) -> None:
        server = Sampler.remote(self.model_config.path, self.config.response_length, self.replica_rank)
        self.servers, self._server_handle, self._server_address = [server], server, f"tiny:{self.replica_rank}"


RolloutReplicaRegistry.register("tiny", lambda: TinyReplica)
base._ROLLOUT_REGISTRY["tiny", "async"] = "in_verl.rollout.TinyRollout"
