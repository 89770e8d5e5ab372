"""The critic inside the policy's wrapped forward: one forward of the engine gives log-probs and values.

As the statistics of the vocabulary do, values leave with the model's output (tap.py says why). The critic is a submodule of
the policy, so one engine and one optimizer train both. It is no part of the policy that others know: not of its saved files, of what vLLM gets, or of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from entropostat.recipe.blocks import Critic as CriticBlock
from entropostat.trainers.model.critic_heads import Critic
from entropostat.trainers.model.shards import gathered
from entropostat.trainers.model.tap import ForwardTap
from entropostat.trainers.model.vocabulary import VocabularyOutput

NAME = "entropostat_critic"
"""Of the submodule."""
FILE = "critic.safetensors"
"""Beside the policy's own files."""
APART = "critic"
"""The folder of that file where others open the policy: vLLM takes every safetensors file beside it for a part of it."""


@dataclass
class CriticOutput(VocabularyOutput):
    """What the model would give without a critic, and the values."""

    state_values: Tensor | None = None
    """(B, L, K). Not `values`, which is a method of every output."""


class CriticTap(ForwardTap):
    """Adds a critic to the innermost ``model`` and wraps its forward; gives values only while armed."""

    def __init__(self, model: PreTrainedModel, block: CriticBlock, seed: int) -> None:
        super().__init__(model)
        self.critic = Critic(model, block, seed)
        model.add_module(NAME, self.critic)
        self._armed = False
        self._found: list[Tensor] = []

    @contextmanager
    def armed(self) -> Iterator[None]:
        self._armed, self._found = True, []
        try:
            yield
        finally:
            self._armed, self._found = False, []

    def take(self, length: int) -> Tensor | None:
        """(B, length + 1, K): values before each of the last ``length`` tokens and after them, of all calls since the
        last taking; None without a call."""
        passes, self._found = self._found, []
        return torch.cat([values[:, -length - 1 :] for values in passes]) if passes else None

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        if not self._armed or not kwargs.get("fused_lm_head"):
            return self._forward(*args, **kwargs)
        # Before other hooks: one of them scales the states by the temperature of the generation.
        output, states = self.with_states(*args, prepend=True, **kwargs)
        values = self.critic(states, kwargs)
        self._found.append(values)
        return CriticOutput(**output, state_values=values)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Inside, the model is the policy alone: what is saved of it then holds no critic."""
        del self.model._modules[NAME]
        try:
            yield
        finally:
            self.model.add_module(NAME, self.critic)

    # ------------------------------------------------------------------------------------------ files

    def save(self, folder: Path, write: bool) -> None:
        """Gathered on all ranks, written by the one that is to ``write``."""
        with gathered(self.critic):
            if write:
                folder.mkdir(parents=True, exist_ok=True)
                state = self.critic.state_dict()
                save_file({name: x.detach().cpu().contiguous().clone() for name, x in state.items()}, folder / FILE)

    def load(self, folder: Path) -> None:
        """Raises FileNotFoundError, or ValueError where the file is that of a critic of another form."""
        file = folder / FILE
        if not file.is_file():
            raise FileNotFoundError(f"{file}: missing; this folder was saved without a critic")
        saved, own = load_file(file), self.critic.state_dict()
        for name in sorted(saved.keys() | own.keys()):
            theirs, ours = (tuple(x[name].shape) if name in x else "no such weight" for x in (saved, own))
            if theirs != ours:
                raise ValueError(
                    f"{file}: {name} is {theirs} there and {ours} here; give the critic block the trunk, heads, hidden and "
                    "layer_norm that it was saved with, or remove the file to start a new critic"
                )
        self.critic.load_state_dict(saved)


def without_critic(named: Callable[[], Iterator[tuple[str, Any]]]) -> Callable[[], Iterator[tuple[str, Any]]]:
    """The same walk over (name, parameter) that leaves out the critic's: vLLM has no place for them."""

    def walk() -> Iterator[tuple[str, Any]]:
        return ((name, parameter) for name, parameter in named() if NAME not in name.split("."))

    return walk


def set_apart(optimizer: Optimizer, critic: Critic, learning_rate: float) -> None:
    """Give the critic a group of its own: its learning rate, and no decay towards values of 0. Once is enough."""
    mine = set(critic.parameters())
    if any(set(group["params"]) == mine for group in optimizer.param_groups):
        return
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if p not in mine]
    optimizer.add_param_group({"params": list(critic.parameters()), "lr": learning_rate, "weight_decay": 0.0})


def join_schedule(scheduler: Any, optimizer: Optimizer, learning_rate: float) -> None:
    """The critic's group, the last of ``optimizer``, follows the schedule of the first: ``scheduler`` was made without it.

    Raises ValueError for another scheduler than torch's LambdaLR, which is what transformers makes: it would have to be told.
    """
    if scheduler is None:
        return
    if type(scheduler) is not LambdaLR:
        raise ValueError(
            f"optimizers: {type(scheduler).__name__} was made before there was a critic and would not move its learning rate; "
            "pass (optimizer, None) with args.lr_scheduler_type, or a LambdaLR"
        )
    factor = scheduler.lr_lambdas[0]
    scheduler.base_lrs.append(learning_rate)
    scheduler.lr_lambdas.append(factor)
    group = optimizer.param_groups[-1]
    group |= {"initial_lr": learning_rate, "lr": learning_rate * factor(scheduler.last_epoch)}
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
