"""Which part of a step was not finite, and the file that keeps what went into it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save_file
from torch import Tensor

from entropostat.trainers.trl.aggregation import completion_mask
from entropostat.trainers.trl.loss_pass import LossPass

GRADIENT = "gradient"
"""The name of what is left where every part of every loss is finite."""
NO_MICRO_BATCH = 1 << 30
BUFFERED = {
    "old_per_token_logps": "old_logps",
    "ref_per_token_logps": "ref_logps",
    "importance_sampling_ratio": "sampler_ratio",
}
"""TRL's names and ours."""
KEPT = ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask", "tool_mask", "num_items_in_batch")
MOST_BYTES = 64 << 20
"""Of tensors in one dump. What no longer fits is named in its JSON."""


@dataclass(frozen=True, order=True)
class Finding:
    """Orders by micro-batch, then rank: the smallest of all ranks is the first fault."""

    micro_batch: int
    rank: int
    term: str

    def __str__(self) -> str:
        if self.term == GRADIENT:
            return "the gradient is not finite, though every part of the loss is"
        return f"{self.term} is not finite (micro-batch {self.micro_batch + 1}, rank {self.rank})"


@dataclass(frozen=True)
class Seen:
    """One micro-batch: its tensors by name, without a graph, in the order in which a step computes them."""

    mask: Tensor
    """(B, T)."""
    values: Mapping[str, Tensor]
    """(B,), (B, T), (B, T, K) or 0-dim."""
    kept: Mapping[str, Tensor]
    """What else is needed to do the step again."""
    generation: int = 0

    @classmethod
    def of(cls, inputs: Mapping[str, Any], passed: LossPass) -> Seen:
        batch = passed.batch
        values: dict[str, Tensor | None] = {name: inputs.get(key) for key, name in BUFFERED.items()}
        values |= {"advantages": batch.advantages, "logps": batch.logps, "entropy": batch.entropy}
        values |= {"weights": passed.weight, **passed.suspects}
        present = {name: _plain(value) for name, value in values.items() if value is not None}
        kept = {name: inputs[name] for name in KEPT if isinstance(inputs.get(name), Tensor)}
        return cls(completion_mask(inputs), present, kept, batch.generation)

    def suspect(self) -> str | None:
        """The first part that is not finite where the mask is 1, or else anywhere."""
        for masked in (True, False):
            for name, value in self.values.items():
                if bool(self.faulty(value, masked).any()):
                    return name
        return None

    def faulty(self, value: Tensor, masked: bool) -> Tensor:
        """Bool, of the shape of ``value``."""
        bad = ~value.isfinite()
        if masked and value.dim() >= 2 and value.shape[:2] == self.mask.shape:
            bad &= self.mask.bool().view(*self.mask.shape, *[1] * (value.dim() - 2))
        return bad


def _plain(value: Tensor) -> Tensor:
    """Without a graph. What has none stays the same tensor."""
    return value.detach() if value.requires_grad else value


def first(seen: Sequence[Seen], rank: int) -> Finding:
    """The first fault of this rank's window."""
    for index, micro in enumerate(seen):
        if (name := micro.suspect()) is not None:
            return Finding(index, rank, name)
    return Finding(NO_MICRO_BATCH, rank, GRADIENT)


def write_dump(file: Path, facts: Mapping[str, Any], seen: Sequence[Seen]) -> None:
    """The tensors of ``seen`` as ``<index>/<name>``, and beside them a JSON file: ``facts``, and where each is not finite."""
    file.parent.mkdir(exist_ok=True)
    tensors: dict[str, Tensor] = {}
    about: dict[str, Any] = {}
    room = MOST_BYTES
    for key, value, bad in _entries(seen):
        places = bad.nonzero()
        about[key] = {"shape": list(value.shape), "not_finite": len(places), "first": places[:1].flatten().tolist()}
        about[key] |= {"value": repr(float(value))} if value.dim() == 0 else {}
        room -= value.nbytes
        if about[key].setdefault("written", room >= 0):
            tensors[key] = value.cpu().contiguous().clone()
    save_file(tensors, file)
    file.with_suffix(".json").write_text(json.dumps({**facts, "tensors": about}, indent=1) + "\n")


def _entries(seen: Sequence[Seen]) -> Iterator[tuple[str, Tensor, Tensor]]:
    for index, micro in enumerate(seen):
        for name, value in {**micro.kept, **micro.values}.items():
            yield f"{index}/{name}", value, micro.faulty(value, masked=False)
