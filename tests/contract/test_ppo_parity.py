"""The PPO trainer against PPO written down plainly: float64, the same completions, epochs and mini-batches."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
import trl.trainer.utils as trl_utils
from support import tiny
from support.dense import DenseHead
from torch import Tensor
from torch.nn import functional as F
from transformers import TrainerCallback

from entropostat.recipe.blocks import Critic
from entropostat.trainers.ppo import EntropyPPOTrainer

POLICY_RATE, CRITIC_RATE, GAMMA, LAM, KL, EPSILON = 0.05, 0.02, 0.97, 0.9, 0.3, 0.1
CASES = {
    "one head": Critic(detach=False, coef=0.5, clip=0.01),
    "twin heads, detached": Critic(heads=2, hidden=True, layer_norm=True, coef=0.5, clip=0.02, init=0.3),
    "softmin of twins as in SAFE": Critic(
        heads=2, combine="softmin", hidden=True, layer_norm=True, detach=False, per_head=False, init=0.3,
        loss="huber", delta=0.1, clip=0.02, clip_rule="mean", coef=0.5,
    ),
    "a trunk of its own": Critic(trunk="separate", heads=2, combine="mean", clip=None, coef=0.5, init=0.3),
}  # fmt: skip


class Recorder(TrainerCallback):
    """Micro-batches as they reach the loss, their losses, and gradients and weights at every step."""

    def __init__(self, trainer: Any) -> None:
        self.trainer, self.batches, self.losses, self.gradients, self.weights = trainer, [], [], [], []
        compute = trainer._compute_loss

        def watched(model: Any, inputs: Any, *args: Any) -> Tensor:
            loss = compute(model, inputs, *args)
            self.batches.append({k: v.clone() for k, v in inputs.items() if isinstance(v, Tensor)})
            self.losses.append(loss.detach().clone())
            return loss

        trainer._compute_loss = watched
        trainer.add_callback(self)

    def on_pre_optimizer_step(self, *_: Any, **__: Any) -> None:
        self.gradients.append(
            {n: p.grad.clone() for n, p in self.trainer.model.named_parameters() if p.grad is not None}
        )

    def on_step_end(self, *_: Any, **__: Any) -> None:
        self.weights.append({n: p.detach().clone() for n, p in self.trainer.model.named_parameters()})


class Plain:
    """A policy, its frozen copy and a critic, as functions of one dictionary of weights."""

    def __init__(self, weights: dict[str, Tensor], block: Critic) -> None:
        self.block = block
        self.weights = {name: w.clone().requires_grad_() for name, w in weights.items()}
        self.frame, self.frozen = tiny.model().double(), tiny.model().double()
        self.frozen.load_state_dict({n: w for n, w in weights.items() if "critic" not in n})

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        """(B, T) log-probs, (B, T) of the frozen copy and (B, T + 1, K) values."""
        ids = torch.cat([batch["prompt_ids"], batch["completion_ids"]], 1)
        seen = torch.cat([batch["prompt_mask"], batch["completion_mask"]], 1)
        length = batch["completion_ids"].size(1)
        body = {n.removeprefix("model."): w for n, w in self.weights.items() if n.startswith("model.")}
        hidden = torch.func.functional_call(self.frame.model, body, (ids, seen)).last_hidden_state
        logits = hidden @ self.weights["lm_head.weight"].T
        with torch.no_grad():
            reference = self.frozen(input_ids=ids, attention_mask=seen).logits
        chosen = [
            x[:, -length - 1 : -1].log_softmax(-1).gather(2, batch["completion_ids"][..., None])[..., 0]
            for x in (logits, reference)
        ]
        return chosen[0], chosen[1], self.values(hidden, ids, seen)[:, -length - 1 :]

    def values(self, hidden: Tensor, ids: Tensor, seen: Tensor) -> Tensor:
        w = {n.partition("critic.")[2]: x for n, x in self.weights.items() if "critic." in n}
        if self.block.trunk == "separate":
            body = {n.removeprefix("trunk."): x for n, x in w.items() if n.startswith("trunk.")}
            hidden = torch.func.functional_call(self.frame.model, body, (ids, seen)).last_hidden_state
        elif self.block.detach:
            hidden = hidden.detach()
        if self.block.layer_norm:
            centred = hidden - hidden.mean(-1, keepdim=True)
            hidden = centred / (centred.square().mean(-1, keepdim=True) + 1e-5).sqrt()
            hidden = hidden * w["values.norm.weight"] + w["values.norm.bias"]
        steps = []
        for head in range(self.block.heads):
            of = lambda part, head=head: (w[f"values.heads.{head}.{part}weight"], w[f"values.heads.{head}.{part}bias"])
            last = (
                F.linear(F.gelu(F.linear(hidden, *of("0."))), *of("2."))
                if self.block.hidden
                else F.linear(hidden, *of(""))
            )
            steps.append(last)
        return torch.cat(steps, -1)

    def together(self, values: Tensor) -> Tensor:
        if self.block.combine == "mean":
            return values.mean(-1)
        if self.block.combine == "min":
            return values.min(-1).values
        alpha = self.block.alpha
        return -alpha * torch.log(torch.exp(-values / alpha).mean(-1))


def generation(plain: Plain, batches: list[dict[str, Tensor]]) -> list[dict[str, Tensor]]:
    """What is fixed when the completions have been drawn: old log-probs and values, returns and advantages."""
    fixed, flat = [], []
    for batch in batches:
        with torch.no_grad():
            logps, reference, heads = plain.forward(batch)
        value = plain.together(heads)
        advantages, returns = torch.zeros_like(logps), torch.zeros_like(logps)
        for row, (ids, mask) in enumerate(zip(batch["completion_ids"], batch["completion_mask"], strict=True)):
            length = int(mask.sum())
            text = tiny.tokenizer().decode(ids[:length], skip_special_tokens=True)
            reward = -KL * (logps[row] - reference[row])
            reward[length - 1] += torch.tensor(tiny.digits([text])[0])  # TRL keeps rewards in float32
            following = value[row, length] if int(ids[length - 1]) != 1 else 0.0  # cut off, or ended
            later = 0.0
            for t in range(length - 1, -1, -1):
                after = value[row, t + 1] if t < length - 1 else following
                later = reward[t] + GAMMA * after - value[row, t] + GAMMA * LAM * later
                advantages[row, t], returns[row, t] = later, later + value[row, t]
            flat.append(advantages[row, :length])
        fixed.append({"logps": logps, "heads": heads, "advantages": advantages, "returns": returns})
    every = torch.cat(flat)
    for one in fixed:
        one["advantages"] = (one["advantages"] - every.mean()) / (every.var() + 1e-8).sqrt()
    return fixed


def loss_of(plain: Plain, batch: dict[str, Tensor], fixed: dict[str, Tensor], share: float) -> Tensor:
    """``share``: the tokens that one micro-batch stands for in the mean over the window."""
    block, mask = plain.block, batch["completion_mask"].double()
    logps, _, heads = plain.forward(batch)
    ratio = torch.exp(logps - fixed["logps"])
    a = fixed["advantages"]
    policy = -torch.min(ratio * a, ratio.clamp(1 - EPSILON, 1 + EPSILON) * a)
    new, old = heads[:, :-1], fixed["heads"][:, :-1]
    if not block.per_head:
        new, old = plain.together(new)[..., None], plain.together(old)[..., None]
    target = fixed["returns"][..., None]

    def distance(v: Tensor) -> Tensor:
        error = (v - target).abs()
        straight = block.delta * (error - block.delta / 2)
        return error**2 / 2 if block.loss == "mse" else torch.where(error <= block.delta, error**2 / 2, straight)

    value = distance(new)
    if block.clip is not None:
        bounded = distance(old + torch.clamp(new - old, -block.clip, block.clip))
        value = torch.max(value, bounded) if block.clip_rule == "max" else (value + bounded) / 2
    return ((policy + block.coef * value.mean(-1)) * mask).sum() / share


@pytest.mark.parametrize("case", CASES)
def test_losses_gradients_and_weights_are_those_of_plain_ppo(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trl_utils, "_ChunkedLogProbFunction", DenseHead)
    path, block = tiny.saved(), CASES[case].model_copy(update={"learning_rate": CRITIC_RATE})
    model = tiny.model().double()
    model.config._name_or_path = path
    gae = {"gamma": GAMMA, "lam": LAM, "kl_coef": KL}
    loss = {"trl": {"type": "dapo", "epsilon": EPSILON}}
    beside = [{"kl_ref": {"coef": 0.0}}]  # a penalty that adds nothing: the value loss comes on top
    spec = tiny.objective(loss, [{"gae": gae}], penalties=beside)
    trainer: Any = EntropyPPOTrainer(
        model=model,
        reward_funcs=tiny.digits,
        args=tiny.ppo_config(
            gradient_accumulation_steps=2, steps_per_generation=4, num_iterations=2, max_steps=8, max_grad_norm=0.0
        ),
        train_dataset=tiny.prompts(64),
        processing_class=tiny.tokenizer(),
        objective=spec,
        critic=block,
        optimizers=(torch.optim.SGD(model.parameters(), lr=POLICY_RATE), None),
    )
    plain = Plain({n: p.detach() for n, p in trainer.model.named_parameters()}, block)
    seen = Recorder(trainer)
    trainer.train()
    assert len(seen.batches) == 16 and len(seen.weights) == 8
    lengths = torch.cat([batch["completion_mask"].sum(1) for batch in seen.batches])
    assert lengths.min() < 8 == lengths.max()

    fixed: list[dict[str, Tensor]] = []
    step = itertools.count()
    for start in range(0, 16, 2):
        if start % 8 == 0:
            fixed = generation(plain, seen.batches[start : start + 4])
            share = float(sum(batch["completion_mask"].sum() for batch in seen.batches[start : start + 4])) / 4 * 2
        total = torch.zeros((), dtype=torch.float64)
        for index in (start, start + 1):
            loss = loss_of(plain, seen.batches[index], fixed[index % 4], share)
            assert float(seen.losses[index]) == pytest.approx(loss.item(), rel=1e-6), index
            total = total + loss
        named = dict(plain.weights)
        grads = torch.autograd.grad(total, list(named.values()), allow_unused=True)
        now = next(step)
        for (name, weight), grad in zip(named.items(), grads, strict=True):
            got = seen.gradients[now].get(name)
            assert (got is None) == (grad is None), name
            if grad is None:
                continue
            assert (got - grad).norm() <= 1e-6 * grad.norm() + 1e-12, name
            with torch.no_grad():
                weight -= (CRITIC_RATE if "critic" in name else POLICY_RATE) * grad
            torch.testing.assert_close(seen.weights[now][name], weight.detach(), rtol=1e-6, atol=1e-9)
    moved = seen.batches[7]["entropostat/old_values"]
    assert (moved - seen.batches[15]["entropostat/old_values"]).abs().max() > 1e-4


def test_a_critics_run_is_not_said_to_learn_nothing_from_groups_of_one() -> None:
    """One completion per prompt has no spread of rewards, and the values need none."""
    trainer = tiny.ppo(tiny.saved(), max_steps=2, eval_strategy="steps", eval_steps=2, eval_dataset=tiny.prompts(4))
    trainer.train()
    logged = [row for row in trainer.state.log_history if "loss" in row or "eval_loss" in row]
    assert len(logged) == 3
    assert not [key for row in logged for key in row if "frac_reward_zero_std" in key]
