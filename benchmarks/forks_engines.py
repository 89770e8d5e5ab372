"""Clip-Cov and KL-Cov as verl, SkyRL and this project compute them: the real functions of each, on one mini-batch.

Each is called as its engine calls it: once a micro-batch, with the normaliser of the whole mini-batch, the gradients added up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from entropostat import catalog
from entropostat.client import ClientLoss, Sample

Settings = Mapping[str, float]
"""clip_cov: fraction, low, high; kl_cov: fraction, coef."""
CLIP = 1.0
"""Of the ratio, both ways, as the released script of Clip-Cov has it; KL-Cov has no clip anywhere."""


@dataclass(frozen=True)
class MiniBatch:
    """One mini-batch of one process: B completions of T tokens, all of them valid."""

    old: Tensor
    """(B, T) log-probs under the policy that sampled, nats."""
    now: Tensor
    """(B, T) under the policy some updates later."""
    advantages: Tensor
    """(B,)."""

    def micro(self, rows: int) -> Iterator[slice]:
        return (slice(at, at + rows) for at in range(0, len(self.old), rows))


NAMES = {
    "verl": {
        "clip_cov": {"fraction": "clip_cov_ratio", "low": "clip_cov_lb", "high": "clip_cov_ub"},
        "kl_cov": {"fraction": "kl_cov_ratio", "coef": "ppo_kl_coef"},
    },
    "skyrl": {
        "clip_cov": {"fraction": "clip_ratio", "low": "clip_cov_lb", "high": "clip_cov_ub"},
        "kl_cov": {"fraction": "kl_cov_frac", "coef": "ppo_kl_coef"},
    },
}
"""What they call our options."""

Gradient = tuple[float, Tensor]
"""The loss, and its gradient by the log-probs, (B, T)."""
Engine = Callable[[str, Settings, MiniBatch, int], Gradient]
"""(method, its settings, data, completions of a micro-batch) -> gradient over the mini-batch."""


def summed(data: MiniBatch, rows: int, loss: Callable[[Tensor, slice], Tensor]) -> Gradient:
    now = data.now.clone().requires_grad_()
    parts = [loss(now[part], part) for part in data.micro(rows)]
    total = torch.stack(parts).sum()
    total.backward()
    assert now.grad is not None
    return total.item(), now.grad


def verl(method: str, settings: Settings, data: MiniBatch, rows: int) -> Gradient:
    from verl.trainer.ppo.core_algos import get_policy_loss_fn  # type: ignore[import-not-found]
    from verl.workers.config import FSDPActorConfig, PolicyLossConfig  # type: ignore[import-not-found]

    names = NAMES["verl"][method]
    policy_loss = PolicyLossConfig(loss_mode=method, **{names[key]: value for key, value in settings.items()})
    config = FSDPActorConfig(
        strategy="fsdp",
        rollout_n=1,
        ppo_micro_batch_size_per_gpu=rows,
        clip_ratio_low=CLIP,
        clip_ratio_high=CLIP,
        policy_loss=policy_loss,
    )
    config.global_batch_info.update(
        dp_size=1, batch_num_tokens=data.old.numel(), global_batch_size=len(data.old), loss_scale_factor=None
    )

    def loss(now: Tensor, part: slice) -> Tensor:
        value, _ = get_policy_loss_fn(method)(
            old_log_prob=data.old[part],
            log_prob=now,
            advantages=data.advantages[part, None].expand_as(now),
            response_mask=torch.ones_like(now).bool(),
            loss_agg_mode="token-mean",
            config=config,
        )
        return value

    return summed(data, rows, loss)


def skyrl(method: str, settings: Settings, data: MiniBatch, rows: int, divided: bool = True) -> Gradient:
    """``divided`` by the tokens of the mini-batch, as its trainer hands advantages over; else raw, which it never does."""
    from skyrl.backends.skyrl_train.utils import ppo_utils  # type: ignore[import-not-found]
    from skyrl.train.config import AlgorithmConfig  # type: ignore[import-not-found]

    config = AlgorithmConfig(policy_loss_type=method, eps_clip_low=CLIP, eps_clip_high=CLIP)
    for key, value in settings.items():
        setattr(getattr(config, method), NAMES["skyrl"][method][key], value)
    raw, mask = data.advantages[:, None].expand_as(data.old).clone(), torch.ones_like(data.old)
    passed = raw
    if divided:
        passed = ppo_utils.apply_loss_reduction_to_advantages_minibatch(
            raw, mask, config.loss_reduction, rows, data.old.shape[1]
        )
    function = ppo_utils.PolicyLossRegistry.get(method)

    def loss(now: Tensor, part: slice) -> Tensor:
        value, _ = function(now, data.old[part], passed[part], config, mask[part], None)
        return value

    return summed(data, rows, loss)


def ours(method: str, settings: Settings, data: MiniBatch, rows: int, scope: str = "rollout") -> Gradient:
    term = {method: {**settings, "scope": scope}}
    objective: dict[str, Any] = {
        "clip_cov": {"loss": {"ppo_clip": {"type": "dapo", "epsilon": CLIP, "epsilon_high": CLIP}}, "weights": [term]},
        "kl_cov": {"loss": {"unclipped": {"type": "dapo"}}, "penalties": [term]},
    }[method]
    parts = list(data.micro(rows))
    client = ClientLoss({"advantages": [], **objective}, accumulate=len(parts))
    ones = torch.ones(data.old.shape[1])
    samples = [
        Sample(mask=ones, old_logps=old, advantages=float(a)) for old, a in zip(data.old, data.advantages, strict=True)
    ]
    generation = client.generation(samples)
    places = range(len(samples))

    def loss(now: Tensor, part: slice) -> Tensor:
        value, _ = client(generation.part(places[part]), list(now))
        return value

    return summed(data, rows, loss)


def defaults(engine: str, method: str) -> dict[str, float]:
    """What a user of the engine gets who names the method and nothing else."""
    if engine == "ours":
        term = catalog.load().terms["weights" if method == "clip_cov" else "penalties"][method]
        return {field.name: field.default for field in term.fields if isinstance(field.default, float)}
    if engine == "verl":
        from verl.workers.config import PolicyLossConfig

        block: Any = PolicyLossConfig()
    else:
        from skyrl.train.config import AlgorithmConfig

        block = getattr(AlgorithmConfig(), method)
    return {ours: getattr(block, theirs) for ours, theirs in NAMES[engine][method].items()}
