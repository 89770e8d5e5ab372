"""One run of stock GRPOTrainer and runs of ours under objectives that mean the same: every logged number, every parameter.

``exact`` delegates the policy loss to TRL and must agree bit for bit. ``own`` computes it here, with a KL of our own for TRL's
beta: the same sums in another order, so that they agree as far as float32 does. SGD, because Adam divides the difference of
two gradients that should be 0 by its own size.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from transformers import set_seed
from trl import GRPOTrainer

from entropostat.recipe.owned import OF_TRLS_LOSS
from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer
from support import tiny

CLOCKS = ("time", "per_second", "flos")
MEASURED = frozenset({"entropy", "kl"})
"""What we measure anew: over the whole window, in float64."""
UNLIKE = {
    "kl": "TRL logs it times the ratio, by which it corrects it; ours is the plain one",
    "clip_ratio/low_min": "over the completions of a step, where TRL takes the mean over its micro-batches",
    "clip_ratio/high_max": "likewise",
}
"""What we log on purpose otherwise than stock: the first with a KL of our own, the others where micro-batches are accumulated."""
OF_BATCHES = ("entropy", "_mean", "low_min", "high_max")
"""Ends of what an evaluation tells per token: TRL takes the mean of its batches' means, we that of its tokens."""
Setup = Callable[[], dict[str, Any]]
"""The arguments of a trainer, made afresh for each: ``args`` is a dict of GRPOConfig's fields."""


def objective(args: Any, own: bool) -> dict[str, Any]:
    """What ``args`` ask TRL for, as an objective."""
    scale = {True: "group", False: "none"}.get(args.scale_rewards, args.scale_rewards)
    fields = {name: getattr(args, name) for name in OF_TRLS_LOSS}
    loss: dict[str, Any] = {"trl": {"type": args.loss_type, **{k: v for k, v in fields.items() if v is not None}}}
    penalties = []
    if own:
        loss = {"ppo_clip": {"type": args.loss_type, "epsilon": args.epsilon, "epsilon_high": args.epsilon_high}}
        penalties = [{"kl_ref": {"coef": args.beta}}] if args.beta else []
    return {
        "advantages": normalise_terms([{"grpo": {"scale": scale}}]),
        "weights": [],
        "loss": normalise_terms([loss])[0],
        "penalties": normalise_terms(penalties),
    }


def run(setup: Setup, kind: str, train: Callable[[Any], None]) -> Any:
    arguments = setup()
    changes = arguments.pop("args", {})
    args = tiny.config(
        **{"optim": "sgd", "learning_rate": 0.5, "steps_per_generation": 2, "max_steps": 3, **changes},
    )
    prepare = arguments.pop("prepare", lambda trainer: None)
    set_seed(7)
    if kind == "stock":
        trainer: Any = GRPOTrainer(args=args, **arguments)
    else:
        asked = objective(args, kind == "own")
        args.beta = 0.0 if kind == "own" else args.beta
        trainer = EntropyGRPOTrainer(args=args, objective=asked, **arguments)
    prepare(trainer)
    trainer.start = {name: p.detach().clone() for name, p in trainer.model.named_parameters()}
    set_seed(11)
    train(trainer)
    return trainer


def plainly(trainer: Any) -> None:
    trainer.train()


def agree(
    setup: Setup, own: bool = True, train: Callable[[Any], None] = plainly, still: bool = False
) -> tuple[Any, Any]:
    """(stock, ours with TRL's loss) after training; raises AssertionError where a run of ours differs.

    Two runs that do nothing would agree: something must have moved, unless nothing is to be learned (``still``).
    """
    stock = run(setup, "stock", train)
    before = dict(stock.model.named_parameters())
    assert still != any(not torch.equal(p, before[name]) for name, p in stock.start.items())
    ours = run(setup, "exact", train)
    same_rows(stock, ours, 0.0)
    trained = dict(ours.model.named_parameters())
    assert trained.keys() == before.keys()
    different = [name for name, p in before.items() if not torch.equal(p, trained[name])]
    assert not different, different
    if own:
        close = run(setup, "own", train)
        same_rows(stock, close, 2e-4)
        for name, p in close.model.named_parameters():
            torch.testing.assert_close(p, before[name], rtol=2e-4, atol=2e-6, msg=name)
    return stock, ours


def rows(trainer: Any) -> list[dict[str, Any]]:
    return [
        {key: value for key, value in row.items() if not any(word in key for word in CLOCKS)}
        for row in trainer.state.log_history
    ]


def same_rows(stock: Any, ours: Any, rel: float) -> None:
    expected, got = rows(stock), rows(ours)
    assert len(expected) == len(got)
    assert any("loss" in row and math.isfinite(row["loss"]) for row in expected)
    for before, after in zip(expected, got, strict=True):
        ends = {key for key in UNLIKE if key != "kl"} if ours.args.gradient_accumulation_steps > 1 else set()
        for key, value in before.items():
            assert key in after, key
            if key.endswith(OF_BATCHES) and key.startswith("eval_"):
                continue
            if key.removeprefix("eval_") in (ends | {"kl"} if rel else ends):
                continue
            exact = rel == 0.0 and key.removeprefix("eval_") not in MEASURED
            assert same(value, after[key], 0.0 if exact else max(rel, 1e-5)), f"{key}: {value} and {after[key]}"


def same(a: Any, b: Any, rel: float) -> bool:
    if not (isinstance(a, int | float) and isinstance(b, int | float)):
        return bool(a == b)
    return a == b or (math.isnan(a) and math.isnan(b)) or math.isclose(a, b, rel_tol=rel, abs_tol=rel * 1e-2)
