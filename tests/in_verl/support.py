"""A generation as verl's TransferQueue gives it, in float64, and losses of it: verl's own and ours."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tensordict import TensorDict
from torch import Tensor
from verl.utils import tensordict_utils as tu
from verl.workers.config import FSDPActorConfig, PolicyLossConfig
from verl.workers.utils.losses import ppo_loss

from entropostat.recipe.objective import spec_of
from entropostat.rl.control import Control
from entropostat.verl.carries import slotted
from entropostat.verl.config import as_block
from entropostat.verl.driver import Driver
from entropostat.verl.fields import GENERATION
from entropostat.verl.settings import Settings

PROMPT = 2
"""Tokens in front of every response."""
Outputs = dict[str, list[Tensor]]
"""verl's model outputs, one (PROMPT + T,) tensor a sequence, with gradient."""


def nest(rows: Sequence[Tensor]) -> Tensor:
    return torch.nested.as_nested_tensor(list(rows), layout=torch.jagged)


@dataclass
class Recorded:
    """Responses to ``prompts`` prompts, ``group`` each, of any lengths; the fourth token of each is a tool's."""

    seed: int = 0
    prompts: int = 4
    group: int = 3
    far: float = 0.3
    """Standard deviation of the log-ratio."""
    rows: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        g = torch.Generator().manual_seed(self.seed)

        def normal(n: int) -> Tensor:
            return torch.randn(n, generator=g, dtype=torch.float64)

        def near(logps: Tensor, far: float) -> Tensor:
            return -(logps + far * normal(len(logps))).abs()

        lengths = torch.randint(3, 24, (self.prompts * self.group,), generator=g).tolist()
        for i, n in enumerate(lengths):
            old = -normal(n).abs()
            mask = torch.ones(n, dtype=torch.long)
            mask[3:4] = 0
            reward = torch.zeros(n, dtype=torch.float64)
            reward[-1] = float(normal(1))
            self.rows.append(
                {
                    "uid": f"p{i // self.group}",
                    "prompts": torch.arange(PROMPT),
                    "responses": torch.randint(0, 50, (n,), generator=g),
                    "response_mask": mask,
                    "loss_mask": mask,
                    "old_log_probs": old,
                    "rollout_log_probs": near(old, 0.05),
                    "ref_log_prob": near(old, 0.2),
                    "entropy": normal(n).abs(),
                    "rm_scores": reward,
                    "advantages": torch.full((n,), float(normal(1)), dtype=torch.float64),
                    "log_probs": torch.cat([torch.zeros(PROMPT - 1), near(old, self.far), torch.zeros(1)]),
                    "live_entropy": normal(n + PROMPT).abs(),
                    "sum_pi_squared": torch.rand(n + PROMPT, generator=g, dtype=torch.float64),
                }
            )

    @property
    def keys(self) -> list[str]:
        return [f"{row['uid']}_{i % self.group}_0" for i, row in enumerate(self.rows)]

    def data(self, rows: Sequence[int] | None = None) -> TensorDict:
        """verl's fields of these rows; of them a mini-batch on one rank."""
        chosen = [self.rows[i] for i in (range(len(self.rows)) if rows is None else rows)]
        live = ("uid", "log_probs", "live_entropy")
        fields: dict[str, Any] = {name: nest([row[name] for row in chosen]) for name in chosen[0] if name not in live}
        data = TensorDict(fields, batch_size=[len(chosen)])
        tu.assign_non_tensor(data, uid=[row["uid"] for row in chosen])
        tokens = int(sum(row["response_mask"].sum() for row in self.rows))
        tu.assign_non_tensor(data, dp_size=1, batch_num_tokens=tokens, global_batch_size=len(self.rows))
        return data

    def outputs(self) -> Outputs:
        names = {"log_probs": "log_probs", "entropy": "live_entropy", "sum_pi_squared": "sum_pi_squared"}
        return {out: [row[name].clone().requires_grad_() for row in self.rows] for out, name in names.items()}


def settings(block: dict[str, Any], mode: str = "token-mean", scale: float | None = None) -> Settings:
    objective = spec_of(block)
    spec: dict[str, Any] = {}
    for slot, (name, kind, options) in slotted(objective):
        if slot == "loss":
            spec[slot] = (name, kind, dict(options))
        else:
            spec.setdefault(slot, []).append((name, kind, dict(options)))
    return Settings(spec, Control.build(spec), as_block(objective), mode, scale, seed=0, longest=24)


@dataclass
class Done:
    loss: float
    logps: Tensor
    """Gradient with respect to all log-probs, prompts' included."""
    entropy: Tensor
    metrics: dict[str, Any]


Layout = Sequence[Sequence[int]]
"""Rows of each micro-batch."""


def run(
    loss: Callable[..., Any], recorded: Recorded, data: Callable[[Sequence[int]], TensorDict], layout: Layout
) -> Done:
    """One step on one rank: gradients add up over micro-batches."""
    outputs, total, metrics = recorded.outputs(), 0.0, {}
    for rows in layout:
        given = {name: nest([values[i] for i in rows]) for name, values in outputs.items()}
        value, metrics = loss(model_output=given, data=data(rows))
        value.backward()
        total += value.item()
    flat = {
        name: torch.cat([x.grad if x.grad is not None else torch.zeros_like(x) for x in values])
        for name, values in outputs.items()
    }
    return Done(total, flat["log_probs"], flat["entropy"], metrics)


def ours(driver: Driver, recorded: Recorded, layout: Layout | None = None) -> Done:
    """By way of the driver, which sees all of the generation."""
    whole = recorded.data()
    fields, told, _ = driver.generation(whole, recorded.keys, [False] * len(recorded.rows))

    def data(rows: Sequence[int]) -> TensorDict:
        given = recorded.data(rows)
        for name in fields.keys():  # noqa: SIM118
            values = fields[name]
            given[name] = nest([values[i] for i in rows]) if values.is_nested else values[list(rows)]
        tu.assign_non_tensor(given, **{GENERATION: told})
        return given

    return run(driver.loss, recorded, data, layout or [range(len(recorded.rows))])


def verls(recorded: Recorded, layout: Layout | None = None, policy_loss: Any = None, **actor: Any) -> Done:
    """verl's ``ppo_loss`` with an actor of this configuration."""
    given = {"strategy": "fsdp", "rollout_n": 2, "ppo_micro_batch_size_per_gpu": 2, "clip_ratio_c": 1e6, **actor}
    config = FSDPActorConfig(**given, policy_loss=policy_loss or PolicyLossConfig())

    def loss(model_output: Any, data: TensorDict) -> Any:
        return ppo_loss(copy.copy(config), model_output, data)

    return run(loss, recorded, recorded.data, layout or [range(len(recorded.rows))])


def apart(a: Done, b: Done) -> float:
    """The largest difference of losses and of gradients, relative to the largest gradient."""
    size = max(float(b.logps.abs().max()), float(b.entropy.abs().max()))
    worst = max(float((a.logps - b.logps).abs().max()), float((a.entropy - b.entropy).abs().max()))
    return max(worst / size, abs(a.loss - b.loss))
