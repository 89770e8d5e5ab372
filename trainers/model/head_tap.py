"""A head that learns beside the policy, inside the policy's wrapped forward: one forward of the engine gives log-probs and what it says.

As the statistics of the vocabulary do, that leaves with the model's output (tap.py says why). The head is a submodule of the
policy, so one engine and one optimizer train both. It is no part of the policy that others know: not of its saved files, of what vLLM gets, or of the reference.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from safetensors.torch import load_file, save_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR
from transformers import PreTrainedModel

from entropostat.trainers.model.shards import gathered
from entropostat.trainers.model.tap import ForwardTap

APART = "heads"
"""The folder of their files where others open the policy: vLLM takes every safetensors file beside it for a part of it."""


class Head(nn.Module):
    """What learns beside the policy: no optimizer of the policy's matrices takes it for one of them."""


class HeadTap(ForwardTap):
    """Adds ``head`` to the innermost ``model`` and wraps its forward."""

    name: ClassVar[str]
    """Of the submodule."""
    file: ClassVar[str]
    """Beside the policy's own files."""
    what: ClassVar[str]
    """The head, in messages."""
    form: ClassVar[str]
    """What of a recipe decides which weights it has."""

    def __init__(self, model: PreTrainedModel, head: Head) -> None:
        super().__init__(model)
        self.head = head
        model.add_module(self.name, head)

    @contextmanager
    def apart(self) -> Iterator[None]:
        """Inside, the model is the policy alone: what is saved of it then holds no head."""
        del self.model._modules[self.name]
        try:
            yield
        finally:
            self.model.add_module(self.name, self.head)

    def save(self, folder: Path, write: bool) -> None:
        """Gathered on all ranks, written by the one that is to ``write``."""
        with gathered(self.head):
            if write:
                folder.mkdir(parents=True, exist_ok=True)
                state = self.head.state_dict()
                save_file(
                    {name: x.detach().cpu().contiguous().clone() for name, x in state.items()}, folder / self.file
                )

    def load(self, folder: Path) -> None:
        """Raises FileNotFoundError, or ValueError where the file is that of a head of another form."""
        file = folder / self.file
        if not file.is_file():
            raise FileNotFoundError(f"{file}: missing; this folder was saved without {self.what}")
        saved, own = load_file(file), self.head.state_dict()
        for name in sorted(saved.keys() | own.keys()):
            theirs, ours = (tuple(x[name].shape) if name in x else "no such weight" for x in (saved, own))
            if theirs != ours:
                raise ValueError(
                    f"{file}: {name} is {theirs} there and {ours} here; give {self.form} that it was saved with, or remove "
                    f"the file to start anew"
                )
        self.head.load_state_dict(saved)


def without(head: str, named: Callable[[], Iterator[tuple[str, Any]]]) -> Callable[[], Iterator[tuple[str, Any]]]:
    """The same walk over (name, parameter) that leaves out the submodule ``head``: vLLM has no place for it."""

    def walk() -> Iterator[tuple[str, Any]]:
        return ((name, parameter) for name, parameter in named() if head not in name.split("."))

    return walk


def set_apart(optimizer: Optimizer, head: nn.Module, learning_rate: float) -> None:
    """Give the head a group of its own: its learning rate, and no decay towards values of 0. Once is enough."""
    mine = set(head.parameters())
    if any(set(group["params"]) == mine for group in optimizer.param_groups):
        return
    for group in optimizer.param_groups:
        group["params"] = [p for p in group["params"] if p not in mine]
    optimizer.add_param_group({"params": list(head.parameters()), "lr": learning_rate, "weight_decay": 0.0})


def join_schedule(scheduler: Any, optimizer: Optimizer, learning_rate: float, what: str) -> None:
    """The head's group, the last of ``optimizer``, follows the schedule of the first: ``scheduler`` was made without it.

    Raises ValueError for another scheduler than torch's LambdaLR, which is what transformers makes: it would have to be told.
    """
    if scheduler is None:
        return
    if type(scheduler) is not LambdaLR:
        raise ValueError(
            f"optimizers: {type(scheduler).__name__} was made before there was {what} and would not move its learning rate; "
            "pass (optimizer, None) with args.lr_scheduler_type, or a LambdaLR"
        )
    factor = scheduler.lr_lambdas[0]
    scheduler.base_lrs.append(learning_rate)
    scheduler.lr_lambdas.append(factor)
    group = optimizer.param_groups[-1]
    group |= {"initial_lr": learning_rate, "lr": learning_rate * factor(scheduler.last_epoch)}
    scheduler._last_lr = [group["lr"] for group in optimizer.param_groups]
