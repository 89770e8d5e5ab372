"""What a term of the slot ``data`` is: a link of the stream of prompts, between the training table and the loss.

    Sieve       takes or leaves a prompt that comes up, by what it remembers of it
    Refill      draws further prompts where a group of completions teaches nothing
    Recovery    keeps groups that found no place, for the next generation

They are chained: a prompt must pass every sieve, and what a refill draws passes them too. Terms decide on plain numbers that
are the same on every rank; the trainer holds the memory, asks for completions, and moves rows. No torch here.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, TypeVar

from entropostat.rl.term import Term

T = TypeVar("T")


@dataclass(frozen=True)
class Group:
    """The completions of one prompt, on all ranks."""

    rewards: tuple[float, ...]
    """As the run is judged by them: unshaped, NaN where nothing could score one."""
    answers: tuple[Any, ...] | None = None
    """Answer keys, None where a completion has none; None in all where no verifier gives any."""


class Seen(NamedTuple):
    """What a sieve remembers of a prompt."""

    value: float
    at: int
    """The generation that asked it last."""


class Data(Term):
    """A link of the stream of prompts."""


class Sieve(Data):
    """Takes or leaves each prompt that comes up. One that it does not remember is taken."""

    memory: float
    """Weight of what was remembered against what a new group says, in [0, 1)."""
    reports: ClassVar[str]
    """Name of the metric that has the mean of ``measure``."""

    @abstractmethod
    def measure(self, group: Group) -> float:
        """What is remembered of the prompt of ``group``; NaN: nothing."""

    @abstractmethod
    def takes(self, seen: Seen, level: float, now: int) -> float:
        """The chance that a prompt is taken. ``level`` is the mean over all remembered ones, ``now`` counts generations."""

    def recall(self, seen: Seen | None, measured: float, now: int) -> Seen:
        """What to remember from now on."""
        return Seen(measured if seen is None else self.memory * seen.value + (1 - self.memory) * measured, now)


class Refill(Data):
    """Groups that teach nothing give way to groups of further prompts. At most one in an objective."""

    max_rounds: int
    """Further rounds of one generation."""

    @abstractmethod
    def teaches(self, rewards: Sequence[float]) -> bool:
        """Whether the advantages of a group with these rewards would not all be 0. NaN: not scored."""

    @abstractmethod
    def asks(self, missing: int, prompts: int) -> int:
        """How many prompts a round draws where ``missing`` groups of a generation of ``prompts`` teach nothing."""


class Recovery(Data):
    """Groups that a refill has too much wait for the next generation. At most one in an objective."""

    max_age: int
    """Generations that a group waits at most."""

    @abstractmethod
    def split(self, waiting: Sequence[T], fresh: Sequence[T], places: int) -> tuple[Sequence[T], Sequence[T]]:
        """Groups that train now, and those that wait."""
