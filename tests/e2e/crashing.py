"""A small run that kills itself with SIGKILL at a given instant, and tells a pipe how far it has come."""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("DS_ACCELERATOR", "cpu")

import deepspeed  # noqa: F401  (a forked run would import both)
import peft  # noqa: F401
from accelerate import Accelerator
from transformers import Qwen3Model

from entropostat import checkpoints
from entropostat.recipe import load
from entropostat.trainers.run import run_recipe
from entropostat.trainers.run_seams import RunSeams
from entropostat.trainers.seams import EntropyMixin

KINDS = ("rollout", "backward", "save", "clock")
SAVE_EVERY, STEPS, KEPT = 3, 13, 2
CYCLE = 4
"""Optimizer steps of a generation."""
OVERRIDES = [
    "model.build={steps: 100, hidden: 32, ff: 64, working: 0.0, modulus: 3}",
    "data.sources={easy: {chain: {length: 2, modulus: 3, size: 9}}, hard: {chain: {length: 5, modulus: 3, size: 200}}}",
    "data.curriculum=[{source: easy, steps: 6}, {source: hard, steps: 10}]",
    "trainer={per_device_train_batch_size: 8, num_generations: 4, steps_per_generation: 2, num_iterations: 2}",
    f"trainer={{max_steps: {STEPS}, max_completion_length: 10}}",
    f"trainer={{save_strategy: steps, save_steps: {SAVE_EVERY}, save_total_limit: {KEPT}}}",
    "objective.weights=[clip_cov: {fraction: 0.2, low: 0.0}]",
    "objective.penalties.kl_ref.reference=ema",
    "objective.penalties.kl_ref.decay=0.9",
    "objective.penalties.+entropy_bonus.coef=-0.3",  # moves the policy whatever the answers
    "shaping={normalise: true}",
    "optimizer.step_radius={every: 2}",
    "tracking={log_every: 2, completions: 4}",  # a log interval and a checkpoint do not end together
    "evaluate={every: 6, prompts: 2, samples: 2, k: [1], greedy: false, reference: false}",
]
FILE_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree"}


@dataclass
class Kill:
    """Where an attempt is to die: at the ``count``-th event inside a phase of this ``kind``, its ``nth`` or the first later one
    that has so many, or after ``seconds``."""

    kind: str
    nth: int = 1
    count: int = 1
    seconds: float = 0.0


class Child:
    """Inside an attempt: what it tells the parent, and the trap."""

    def __init__(self, pipe: int, plan: Kill | None) -> None:
        self.pipe, self.plan = pipe, plan
        self.phases: list[str] = []
        self.seen = dict.fromkeys(KINDS, 0)
        self.events = 0

    def tell(self, **event: Any) -> None:
        os.write(self.pipe, (json.dumps(event) + "\n").encode())

    def enter(self, kind: str, **facts: Any) -> None:
        self.phases.append(kind)
        self.seen[kind] += 1
        self.events = 0
        self.tell(enter=kind, **facts)

    def leave(self, **facts: Any) -> None:
        kind = self.phases.pop()
        self.tell(leave=kind, events=self.events, **facts)

    def event(self, kind: str) -> None:
        """Something happens that a trap may be set on."""
        if self.phases[-1:] != [kind]:
            return
        self.events += 1
        plan = self.plan
        if plan and plan.kind == kind and self.seen[kind] >= plan.nth and self.events == plan.count:
            os.kill(os.getpid(), signal.SIGKILL)


def instrument(child: Child) -> None:
    """Wrap what a step consists of, in this process only."""
    generate, save = EntropyMixin._generate_and_score_completions, RunSeams._save_checkpoint
    backward, forward, find = Accelerator.backward, Qwen3Model.forward, checkpoints.find
    trainers: list[Any] = []

    def rollout(self: Any, *args: Any, **kwargs: Any) -> Any:
        trainers[:] = [self]
        child.enter("rollout", step=self.state.global_step + 1)
        result = generate(self, *args, **kwargs)
        child.leave()
        return result

    def saving(self: Any, *args: Any) -> None:
        child.enter("save", step=self.state.global_step)
        save(self, *args)
        child.leave(saved=self.state.global_step)

    def backwards(self: Any, loss: Any, **kwargs: Any) -> None:
        trainer = trainers[0] if trainers else None
        step = trainer.state.global_step + 1 if trainer else None
        child.enter("backward", step=step)
        model = self._models[0]
        hooks = [p.register_hook(lambda grad: child.event("backward")) for p in model.parameters() if p.requires_grad]
        backward(self, loss, **kwargs)
        for hook in hooks:
            hook.remove()
        child.leave()

    def forwards(self: Any, *args: Any, **kwargs: Any) -> Any:
        child.event("rollout")
        return forward(self, *args, **kwargs)

    def told_find(*args: Any) -> Any:
        folder = find(*args)
        child.tell(resumed=checkpoints.step(folder) if folder else 0)
        return folder

    EntropyMixin._generate_and_score_completions = rollout  # type: ignore[method-assign]
    RunSeams._save_checkpoint = saving  # type: ignore[method-assign]
    Accelerator.backward, Qwen3Model.forward, checkpoints.find = backwards, forwards, told_find  # type: ignore[method-assign]
    sys.addaudithook(lambda name, args: child.event("save") if name in FILE_EVENTS else None)


def train(out: Path, child: Child) -> int:
    """`entropostat train --resume auto` into ``out``, in this process."""
    instrument(child)
    recipe = load("entropostat:quickstart/pid-kl.yaml", [*OVERRIDES, f"output_dir={out}", "name=run"])
    return run_recipe(recipe, resume="auto")
