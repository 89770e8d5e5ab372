"""Whole prompt groups for a verifier that judges a group at a time, also where their members lie on several ranks.

The trainer calls reward functions on every rank at the same time, each with as many rows. The rows of all ranks, one rank after the
other, are whole groups; those of one rank are so only where the size of a group divides them. Where it does not, the ranks
exchange completions, the rank that holds the first member of a group judges it, and the verdicts are exchanged: a group is
judged once, and all of its members by the same call.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

from entropostat.data.example import Completion, Example
from entropostat.faults import RunFault
from entropostat.reward.calls import Rows, runs
from entropostat.reward.judge import Outcome

Score = Callable[[Sequence[Completion], Sequence[Example], Sequence[Rows]], list[Outcome]]


class Ranks(Protocol):
    """How the completions of a generation lie on the ranks."""

    @property
    def size(self) -> int:
        """Members of a group."""

    @property
    def rank(self) -> int: ...
    @property
    def world(self) -> int: ...

    def gather(self, rows: list[Any]) -> list[Any]:
        """Those of all ranks, in their order. Every rank has to call it."""


def in_groups(
    score: Score, completions: Sequence[Completion], examples: Sequence[Example], ranks: Ranks | None
) -> list[Outcome]:
    """Outcomes of this rank's rows. Without ``ranks``, rows that follow each other and ask the same are a group."""
    rows = len(completions)
    if ranks is None:
        return score(completions, examples, runs(examples))
    if rows % ranks.size == 0:
        return score(completions, examples, _blocks(rows, ranks.size))
    every = ranks.gather(list(zip(completions, examples, strict=True)))
    if len(every) != rows * ranks.world or len(every) % ranks.size:
        raise RunFault(
            f"a reward of form: group needs whole groups of {ranks.size}, and this call has {len(every)} completions on "
            f"{ranks.world} process(es); make the batch a multiple of trainer.num_generations"
        )
    begin = ranks.rank * rows
    # The first member of a group decides who judges it.
    mine = [group for group in _blocks(len(every), ranks.size) if begin <= group[0] < begin + rows]
    held = [row for group in mine for row in group]
    found = score([every[row][0] for row in held], [every[row][1] for row in held], _blocks(len(held), ranks.size))
    verdicts = dict(ranks.gather(list(zip(held, found, strict=True))))
    return [verdicts[begin + row] for row in range(rows)]


def _blocks(rows: int, size: int) -> list[Rows]:
    return [range(start, start + size) for start in range(0, rows, size)]
