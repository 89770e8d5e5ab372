"""Worker: replay one recorded generation with PPO, at the layout that the arguments of replay.py name."""

from __future__ import annotations

import functools
from typing import Any

import replay
import torch

from entropostat.recipe.blocks import Critic
from entropostat.trainers.critic import VALUES
from entropostat.trainers.ppo import EntropyPPOTrainer

GAE: dict[str, Any] = {"advantages": [{"gae": {"kl_coef": 0.3, "gamma": 0.98}}]}
CASES: dict[str, dict[str, Any]] = {
    "one head": {"critic": Critic(detach=False, coef=0.5), **GAE},
    "twins": {"critic": Critic(heads=2, hidden=True, layer_norm=True, init=0.5, coef=0.5), **GAE},
    "softmin": {"critic": Critic(heads=2, combine="softmin", per_head=False, loss="huber", detach=False), **GAE},
    "trunk": {
        "critic": Critic(trunk="separate", coef=0.5),
        **GAE,
        "weights": [{"clip_cov": {"fraction": 0.2, "low": 0.0, "high": 50.0}}],
    },
    "grpo loss": {"critic": Critic(detach=False, coef=0.5), **GAE, "loss": {"trl": {"type": "grpo"}}},
}


class ReplayPPO(replay.Replay, EntropyPPOTrainer):
    """Replay with the values and the ends of the recorded completions."""

    def _score(self, output: dict[str, Any], batch: Any) -> None:
        heads, cut = recorded(batch.logps.dtype, self.critic.block.heads)
        output[VALUES] = heads[batch.uids]
        super()._score(output, batch.set(old_values=self.critic.combined(output[VALUES]), truncated=cut[batch.uids]))


def recorded(dtype: torch.dtype, heads: int) -> tuple[torch.Tensor, torch.Tensor]:
    g = torch.Generator().manual_seed(11)
    values = 0.1 * torch.randn(replay.SEQUENCES, replay.LENGTH + 1, heads, generator=g, dtype=torch.float64)
    return values.to(dtype), torch.rand(replay.SEQUENCES, generator=g) < 0.5


def run(original: Any, case: dict[str, Any], *args: Any) -> dict[str, Any]:
    """What ``replay.run`` gives, and what the critic reported."""
    made: list[Any] = []
    base = replay.Replay
    case = dict(case)
    critic = case.pop("critic")

    def build(**kwargs: Any) -> Any:
        made.append(ReplayPPO(critic=critic, **kwargs))
        return made[-1]

    replay.Replay = build  # type: ignore[misc,assignment]
    try:
        result = original(case, *args)
    finally:
        replay.Replay = base  # type: ignore[misc]
    row = next(row for row in made[0].state.log_history if "critic/value" in row)
    return result | {"judged": {key: value for key, value in row.items() if key.startswith("critic/")}}


if __name__ == "__main__":
    replay.CASES = CASES
    replay.run = functools.partial(run, replay.run)
    replay.main()
