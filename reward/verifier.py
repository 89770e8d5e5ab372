"""What every verifier is."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from entropostat.data.example import Completion, Example
from entropostat.reward import forms
from entropostat.rl.registry import option
from entropostat.rl.term import Term

Form = Literal["single", "batch", "group", "trl"]


@dataclass(frozen=True, kw_only=True)
class Verifier(Term):
    """Scores one completion. Its fields are the recipe's keys."""

    weight: float = option(1.0, fixed=True, doc="factor of this verifier's score in the reward")
    sources: list[str] = option(  # noqa: RUF009
        factory=list, doc="names in data.sources and evaluate.sets whose completions it judges; empty: all"
    )
    weights: dict[str, float] = option(  # noqa: RUF009
        factory=dict, doc="name in data.sources -> the weight there, in place of `weight`"
    )
    timeout: float = option(
        10.0,
        above=0,
        high=86400,
        fixed=True,
        doc="seconds that one completion may take in a worker process, or one call of several",
    )

    libraries: ClassVar[tuple[str, ...]] = ()
    """Imports of ``score``, done before its time-out starts to count."""

    strategies: ClassVar[tuple[str, ...]] = ()
    """The labels of ``strategy``, so that the share of one that has died out is reported as 0."""

    learned: ClassVar[bool] = False
    """True for a model: the trainer holds it and scores whole batches, and nothing is called here."""

    @property
    def user_code(self) -> str | None:
        """The module of the user's that ``score`` runs. Refused without ``--allow-code``."""
        return None

    @property
    def isolated(self) -> bool:
        """True where scoring may hang or crash: then it runs in a worker process, with ``timeout``."""
        return False

    @property
    def compares(self) -> bool:
        """False where it needs no reference answer, and so has a say on every prompt."""
        return True

    @property
    def formal(self) -> bool:
        """True where it judges form alone: it does not decide what is right in evaluation where another verifier can."""
        return False

    @property
    def repeats(self) -> bool:
        """True where equal completions of one example always have the same score: then they are judged once in a call."""
        return not self.learned

    @property
    def calls(self) -> Form:
        """What is judged at once. All but 'single' are ``isolated``, and judge by ``scores``."""
        return "single"

    @property
    def heaviest(self) -> float:
        """The largest of its weights, in size."""
        return max(map(abs, [self.weight, *self.weights.values()]))

    def judges(self, source: str) -> bool:
        return not self.sources or source in self.sources

    @classmethod
    def _contradiction(cls) -> str | None:
        scores = cls.score is not Verifier.score
        return None if scores or cls.learned else "has no `score`, and is not `learned` either"

    def prepare(self) -> None:
        """Import what ``score`` needs, slow or missing as it may be. Called where ``score`` is."""
        for library in self.libraries:
            importlib.import_module(library)

    def score(self, completion: str, example: Example) -> float | None:
        """1 is right, 0 is wrong, None when this verifier has no say on the completion."""
        raise NotImplementedError

    def scores(
        self, completions: Sequence[Completion], examples: Sequence[Example], columns: Mapping[str, Any]
    ) -> object:
        """Of several completions at once, one score each. ``columns``: what a trainer has beside them."""
        raise NotImplementedError

    def worked(self, example: Example) -> list[str]:
        """Right answers to the example, in forms of which at least one must score 1: before a run begins every reference is
        tried on its verifier. Empty where nobody can say how one looks.
        """
        return [] if example.answer is None else forms.worked(example, forms.alone(example.answer))

    def answer_key(self, completion: str, example: Example) -> str | None:
        """The canonical answer in the completion, equal for completions that mean the same; None without one."""
        return None

    def strategy(self, completion: str, example: Example) -> str | None:
        """A label for how the completion goes about it, where the task has a known few ways; None otherwise."""
        return None
