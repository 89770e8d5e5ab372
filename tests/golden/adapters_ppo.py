"""Adapters of PPO's parts as SAFE puts them together: critic, reward normaliser, and whole training steps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from golden.adapters import objective
from golden.harness import Adapter, Inputs, Record, Results, Where
from golden.layouts_ppo import critic_files, normaliser_files, step_files
from torch import Tensor

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.rl.batch import TokenBatch
from entropostat.rl.critic import combine, value_loss
from entropostat.rl.divergences import estimator
from entropostat.rl.moments import RunningMoments
from entropostat.rl.reduce import aggregate, masked_mean
from entropostat.rl.registry import CONTROLLERS, PENALTIES
from entropostat.rl.returns import whitened
from entropostat.rl.sequence import row_mean

Weights = Mapping[str, Tensor]

ALPHA = 0.3
"""Softness of the released critics: like what follows, a constant of the reference, in no file."""
LOSSES = {
    "safe": {"loss": "huber", "delta": 0.5, "clip": 0.2, "rule": "mean"},
    "asym": {"loss": "mse", "delta": 0.5, "clip": 0.2, "rule": "max"},
    "ppo": {"loss": "mse", "delta": 0.5, "clip": None, "rule": "max"},
}
SINGLE = 1e-5
"""The reference subtracts the mean in float32."""
CRITIC_NORM = {"safe": 0.5, "asym": 1.0, "ppo": None}
"""Gradient clip of the critic; the baseline clips the policy alone, and steps both with one optimizer."""
CONTROL = {"safe": "safe", "asym": "safe_asymmetric"}
PENALTY = {"penalty": "kl_penalty", "target": "kl_threshold", "phase": "phase", "active": "kl_active"}
RISE = {"penalty": "kl_penalty", "momentum": "kl_momentum", "active": "kl_asymmetric_active"}


def critic_of(weights: Weights) -> torch.nn.Module:
    """The trainers' value heads with these weights, the reference's names for them being ``ln``, ``v1`` and ``v2``."""
    from entropostat.trainers.model.critic_heads import ValueHeads  # which imports transformers

    names = {"ln": "norm", "v1": "heads.0", "v2": "heads.1"}
    state = {}
    for name, value in weights.items():
        owner, _, rest = name.partition(".")
        state[f"{names[owner]}.{rest}" if owner in names else f"heads.0.{name}"] = value
    options = {"heads": 2 if "v2.0.weight" in weights else 1, "layer_norm": "ln.weight" in weights, "hidden": True}
    width = next(value for name, value in weights.items() if name.endswith("0.weight")).shape[1]
    heads = ValueHeads(width, CriticBlock(**options)).to(next(iter(weights.values())).dtype)
    heads.load_state_dict(state)
    return heads


def part_of(x: Inputs, prefix: str) -> dict[str, Tensor]:
    return {key.removeprefix(prefix): value for key, value in x.items() if key.startswith(prefix)}


def critic(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for case, alpha in params["alphas"].items():
        if f"{case}/hidden" in x:
            values = critic_of(part_of(x, f"{case}/param/"))(x[f"{case}/hidden"][:, -1])
            outputs = {"v1": values[:, 0], "v2": values[:, 1], "softmin": combine(values, "softmin", alpha)}
        else:
            out = combine(torch.stack([x[f"{case}/v1"], x[f"{case}/v2"]], -1), "softmin", alpha)
            outputs = {"out": out, "total": out.sum()}
        results |= {f"{case}/{name}": value for name, value in outputs.items()}
    return results


def slopes(record: Record) -> dict[str, tuple[str, str]]:
    alone = [case for case in record.params["alphas"] if f"{case}/v1" in record.inputs]
    return {f"{case}/d{v}": (f"{case}/total", f"{case}/{v}") for case in alone for v in ("v1", "v2")}


def normaliser(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for key, batches in x.items():
        moments, rows, states = RunningMoments(), [], []
        for rewards in batches:
            moments = moments.update(rewards, bessel=True)
            rows.append(moments.normalise(rewards))
            states.append([moments.count, moments.mean, moments.variance])
        name = key.removesuffix("/x")
        results[f"{name}/y"] = Where(torch.stack(rows), torch.ones_like(batches), SINGLE)
        results |= {f"{name}/count_mean_var": torch.tensor(states, dtype=torch.float64)}
    return results


def policy(weights: Weights, ids: Tensor) -> tuple[Tensor, Tensor]:
    """The reference's stub: hidden states that see the mean of all tokens before them, and logits."""
    embedded = weights["emb"][ids]
    mean = embedded.cumsum(1) / torch.arange(1, ids.shape[1] + 1).view(1, -1, 1)
    hidden = torch.tanh(mean @ weights["mix"]) + embedded
    return hidden, hidden @ weights["out"]


def tokens(weights: Weights, x: Inputs) -> tuple[TokenBatch, Tensor]:
    """The completions under this policy, and the hidden state of each row's last position, be it padding."""
    hidden, logits = policy(weights, x["ids"])
    start = int(x["prompt_len"])
    logp = logits[:, start - 1 : -1].log_softmax(-1)
    batch = TokenBatch(
        logps=logp.gather(-1, x["ids"][:, start:, None]).squeeze(-1),
        old_logps=x["policy_logprobs"],
        ref_logps=x["ref_logprobs"],
        mask=x["mask"][:, start:].to(logp.dtype),
        entropy=-(logp.exp() * logp).sum(-1),
    )
    return batch, hidden[:, -1]


def step(x: Inputs, kind: str, lr: float, epochs: int) -> Results:
    weights = {name: value.clone().requires_grad_() for name, value in part_of(x, "policy_init/").items()}
    heads = critic_of(part_of(x, "critic_init/"))
    x = part_of(x, "rollout/")
    raw = x["raw_rewards"]
    rewards = RunningMoments(0.0, 0.0, 0.0).update(raw, bessel=True).normalise(raw)  # recorded without a start
    before, last = tokens(weights, x)
    old = combine(heads(last), "softmin", ALPHA).detach()
    rows = torch.ones(len(rewards), 1)
    advantages = whitened((rewards - old).unsqueeze(1), rows.bool(), before)[0].squeeze(1)
    o = objective("ppo_clip", {"epsilon": 0.2, "epsilon_high": 0.2, "dual": None})
    bonus = PENALTIES.build("entropy_bonus", {"coef": 0.01, "reduction": "trl"})
    optimizers = [torch.optim.AdamW(group, lr=lr) for group in (weights.values(), heads.parameters())]
    controller = CONTROLLERS.build(CONTROL[kind], {"reference": True}) if kind in CONTROL else None
    state = controller.init() if controller else {}
    seen: dict[str, list[Tensor]] = {"policy_loss": [], "value_loss": [], "kl": []}
    for _ in range(epochs):
        batch, last = tokens(weights, x)
        kl = masked_mean(estimator(batch.logps - batch.ref_logps, "k1"), batch.mask)
        value = combine(heads(last), "softmin", ALPHA).unsqueeze(1)
        losses = {
            "policy_loss": aggregate(o.token_loss(batch.set(advantages=advantages))[0], batch.mask),
            "value_loss": value_loss(value, old.unsqueeze(1), rewards.unsqueeze(1), rows, **LOSSES[kind]).mean(),
        }
        everywhere = batch.set(mask=torch.ones_like(batch.mask))  # the released bonus counts padding
        if kind == "ppo":
            total = losses["policy_loss"] + losses["value_loss"] + 0.05 * kl
        else:
            total = losses["policy_loss"] + 0.5 * losses["value_loss"] + bonus(everywhere)[0]
        for optimizer in optimizers:
            optimizer.zero_grad()
        total.backward()
        torch.nn.utils.clip_grad_norm_(list(weights.values()), 1.0)
        if (bound := CRITIC_NORM[kind]) is not None:
            torch.nn.utils.clip_grad_norm_(heads.parameters(), bound)
        for optimizer in optimizers:
            optimizer.step()
        for name, loss in (losses | {"kl": kl}).items():
            seen[name].append(loss.detach())
        if controller:
            # The released penalty is added to the loss as a number without gradient: it is only reported.
            signals = {"kl": float(kl.detach()), "reward": float(raw.mean()), "entropy": float(x["entropy"])}
            state, _ = controller.update(state, signals)
    reported = rewards if kind == "ppo" else raw
    results: Results = {name: torch.stack(values).mean() for name, values in seen.items()}
    if kind == "ppo":
        results["value_loss"] = seen["value_loss"][-1]  # of the last epoch, where the others report their mean
    results |= {"step": torch.tensor(1), "completion_length": before.mask.sum(1).mean()}
    results |= {"reward": reported.mean(), "reward_std": reported.std(), "rollout/rewards": rewards}
    results |= {"entropy": row_mean(before.entropy, before).mean()}
    results |= {f"policy_grad_last_after_clip/{name}": p.grad for name, p in weights.items()}
    results |= {f"policy_final/{name}": p.detach() for name, p in weights.items()}
    names = {"safe": PENALTY, "asym": RISE, "ppo": {}}[kind]
    results |= {theirs: torch.tensor(state[ours]) for ours, theirs in names.items()}
    return {name: value.long() if name == "phase" else value for name, value in results.items()}


def trainstep(x: Inputs, params: dict[str, Any]) -> Results:
    results: Results = {}
    for run, options in params["runs"].items():
        outputs = step(part_of(x, f"{run}/"), **options)
        for name, value in outputs.items():
            results[f"{run}/{name}"] = value.bool() if name.endswith("active") else value
    return results


ADAPTERS = (
    Adapter(("safe_critic",), critic, critic_files, slopes),
    Adapter(("safe_rewardnorm",), normaliser, normaliser_files),
    Adapter(("safe_trainstep",), trainstep, step_files),
)
