"""A rollout of all ranks as rows in the order of its groups, which can be picked, joined and kept.

A group may lie on several ranks, and one of another rank may take its place: so every rank holds the rows of all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from accelerate.utils import gather_object
from torch import Tensor

LEFT = ("prompt_ids", "prompt_mask")
"""Padded on the left; all else on the right."""
FILLED = {"tool_mask": 1}
"""What TRL pads with, where it is not 0."""
PROMPT, COMPLETION = "prompt", "completion"


@dataclass(frozen=True)
class Bank:
    """N rows."""

    tensors: Mapping[str, Tensor]
    """(N, ...) by TRL's name, or a name of ours."""
    widths: Mapping[str, Tensor]
    """(N,) columns that the prompt and the completion of a row had on its rank."""
    answers: Sequence[Any] | None
    shown: Mapping[str, list[Any]]
    """Columns of TRL's log of completions."""

    def __len__(self) -> int:
        return len(self.widths[PROMPT])

    @classmethod
    def gathered(
        cls,
        trainer: Any,
        output: Mapping[str, Any],
        per_func: Tensor,
        answers: Sequence[Any] | None,
        shown: Mapping[str, list[Any]],
    ) -> Bank:
        """``output`` and ``answers`` are of this rank, ``per_func`` and ``shown`` of all, as TRL has them."""
        ranks, rows = trainer.accelerator, output["prompt_ids"].size(0)
        mine = {key: x for key, x in output.items() if isinstance(x, Tensor) and x.dim() and x.size(0) == rows}
        width = torch.tensor([mine["prompt_ids"].size(1), mine["completion_ids"].size(1)], device=ranks.device)
        widths = width.expand(rows, 2)
        if ranks.num_processes > 1:
            sizes = torch.tensor([x.size(1) if x.dim() > 1 else 0 for x in mine.values()], device=ranks.device)
            longest = ranks.gather(sizes).view(ranks.num_processes, -1).amax(0).tolist()
            padded = {k: widened(trainer, k, x, w) for (k, x), w in zip(mine.items(), longest, strict=True)}
            mine = {key: ranks.gather(x.contiguous()) for key, x in padded.items()}
            widths = ranks.gather(widths.contiguous())
            answers = gathered_answers(answers)
        columns = {PROMPT: widths[:, 0], COMPLETION: widths[:, 1]}
        return cls({**mine, "per_func": per_func}, columns, answers, shown)

    def rows(self, places: Tensor) -> Bank:
        """Those at ``places`` (M,), without the columns that none of them fills."""
        widths = {key: x[places] for key, x in self.widths.items()}
        left, right = (int(x.max()) if len(x) else 0 for x in (widths[PROMPT], widths[COMPLETION]))
        whole = self.tensors["completion_ids"].size(1)

        def cut(key: str, x: Tensor) -> Tensor:
            if key in LEFT:
                return x[:, x.size(1) - left :]
            return x[:, :right] if x.dim() > 1 and x.size(1) == whole and key != "per_func" else x

        listed = places.tolist()
        return Bank(
            {key: cut(key, x[places]) for key, x in self.tensors.items()},
            widths,
            None if self.answers is None else [self.answers[i] for i in listed],
            {key: [column[i] for i in listed] for key, column in self.shown.items()},
        )

    def groups(self, chosen: Sequence[int], size: int) -> Bank:
        """The rows of these groups."""
        return self.rows(rows_of(chosen, size, self.widths[PROMPT].device))


def rows_of(groups: Sequence[int], size: int, device: Any) -> Tensor:
    """(len(groups) * size,) the rows that groups of ``size`` have."""
    first = torch.tensor(list(groups), dtype=torch.long, device=device) * size
    return (first.unsqueeze(1) + torch.arange(size, device=device)).flatten()


def joined(trainer: Any, banks: Sequence[Bank]) -> Bank:
    """The rows of all, one bank after the other, under the keys that all of them have."""
    keys = [key for key in banks[0].tensors if all(key in bank.tensors for bank in banks)]

    def cat(key: str) -> Tensor:
        parts = [bank.tensors[key] for bank in banks]
        longest = max(x.size(1) for x in parts) if parts[0].dim() > 1 else 0
        return torch.cat([widened(trainer, key, x, longest) for x in parts])

    columns = dict.fromkeys(key for bank in banks for key in bank.shown)
    known = all(bank.answers is not None for bank in banks)
    return Bank(
        {key: cat(key) for key in keys},
        {key: torch.cat([bank.widths[key] for bank in banks]) for key in (PROMPT, COMPLETION)},
        [answer for bank in banks for answer in bank.answers or ()] if known else None,
        {key: [x for bank in banks for x in bank.shown.get(key, [None] * len(bank))] for key in columns},
    )


def widened(trainer: Any, key: str, x: Tensor, width: int) -> Tensor:
    """Padded to ``width`` columns, as TRL pads it."""
    if x.dim() < 2 or x.size(1) == width:
        return x
    fill = trainer._tokenizer.pad_token_id if key in ("prompt_ids", "completion_ids") else FILLED.get(key, 0)
    room = x.new_full((x.size(0), width - x.size(1), *x.shape[2:]), fill)
    return torch.cat([room, x] if key in LEFT else [x, room], dim=1)


def gathered_answers(answers: Sequence[Any] | None) -> list[Any] | None:
    """Keys of the completions of all ranks, in their order; None where a rank has none."""
    given = gather_object([None if answers is None else list(answers)])
    return None if any(keys is None for keys in given) else [key for keys in given for key in keys]
