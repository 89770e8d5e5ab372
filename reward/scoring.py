"""The verifiers of a recipe as reward functions of the trainer and as the judges of the evaluation."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from entropostat.data.example import Completion, Example
from entropostat.faults import RunFault
from entropostat.reward.calls import Call, Rows, calls_of, runs
from entropostat.reward.columns import columns
from entropostat.reward.groups import Ranks
from entropostat.reward.judge import Outcome, judge, unusable
from entropostat.reward.reward_function import RewardFunction
from entropostat.reward.verifier import Verifier
from entropostat.reward.worker import Job
from entropostat.reward.workers import DIED, Workers

log = logging.getLogger(__name__)

PATIENCE = 3
"""Calls in a row of which not one completion came back from the workers, until the run is given up."""


class Model(Protocol):
    """A reward model: what ``learned`` verifiers are scored by."""

    truncated: int
    """Texts of the last call that lost their beginning."""

    def __call__(self, completions: Sequence[Completion], examples: Sequence[Example]) -> list[float | None]:
        """One score a completion; None for a text without a token."""
        ...


class Scorer:
    """Runs verifiers on completions, each on those of its sources. One of those that judge a source, ``judge``, decides what counts
    as right there in evaluation.
    """

    def __init__(
        self,
        verifiers: Mapping[str, Verifier],
        *,
        allow_code: bool = False,
        workers: int | None = None,
        sources: Sequence[str] = (),
    ) -> None:
        """``verifiers`` maps names (metrics carry them) to verifiers, in the recipe's order. ``sources``: those that are trained
        on, where they are known."""
        for name, verifier in verifiers.items():
            if verifier.user_code and not allow_code:
                raise PermissionError(
                    f"reward.{name}: this recipe runs your own code ({verifier.user_code}); pass --allow-code to allow it"
                )
        self.verifiers = dict(verifiers)
        self.columns = columns(self.verifiers, sources)
        self.models: dict[str, Model] = {}
        """The trainer puts one here for every learned verifier, by name."""
        self.ranks: Ranks | None = None
        """The trainer says here how groups of completions lie on its processes."""
        self.beside: Mapping[str, Any] = {}
        """What a function of TRL's signature is given beside completions: the newest of the trainer's."""
        self.problems: dict[str, Counter[str]] = {name: Counter() for name in verifiers}
        """Completions lost so far, by verifier and kind ('error', 'timeout')."""
        self._keys: dict[str, list[str | None]] = {}
        self._lost: Counter[str] = Counter()
        """Calls in a row, by verifier, of which every worker died."""
        self._workers: dict[bool, Workers] = {}
        """By whether they are sealed: code of the user's is trusted, and runs in processes of its own."""
        self._worker_count = workers

    @property
    def functions(self) -> list[RewardFunction]:
        """For TRL's ``reward_funcs``."""
        return [RewardFunction(self, column) for column in self.columns]

    @property
    def weights(self) -> list[float]:
        """For TRL's ``reward_weights``."""
        return [column.weight for column in self.columns]

    @property
    def answers(self) -> list[str | None]:
        """The answer keys of the completions that the reward functions saw last, in their order: of each, the key of the
        first verifier of its source that found one. Never by what others found, which differs between the ranks of a group.
        """
        found = [self._keys[column.name] for column in self.columns if column.name in self._keys]
        return [next((key for key in keys if key is not None), None) for keys in zip(*found, strict=True)]

    def judge(self, source: str = "") -> str | None:
        """Name of the verifier that decides on ``source`` in evaluation: the first that is no reward model and judges more than
        form, else the first that is no reward model; None without one."""
        able = [name for name, v in self.verifiers.items() if not v.learned and v.judges(source)]
        return next((name for name in able if not self.verifiers[name].formal), next(iter(able), None))

    @property
    def deciders(self) -> list[str]:
        """The reward functions that decide in evaluation, on one source or another: those of no reward model that judge more than
        form, else those of no reward model."""
        able = [column.name for column in self.columns if not self.verifiers[column.verifier].learned]
        return [c.name for c in self.columns if c.name in able and not self.verifiers[c.verifier].formal] or able

    def strategies(self, source: str = "") -> tuple[str, ...]:
        """The known strategies, by the verifier that decides on ``source``."""
        name = self.judge(source)
        return () if name is None else self.verifiers[name].strategies

    def score(
        self,
        name: str,
        completions: Sequence[Completion],
        examples: Sequence[Example],
        groups: Sequence[Rows] | None = None,
        beside: Mapping[str, Any] | None = None,
    ) -> list[Outcome]:
        """Verdicts of one verifier, whatever its sources. Problems are counted, and the first of each verifier is logged.

        ``groups``: the rows of each prompt's completions, which by default follow each other. ``beside``: columns of a function
        of TRL's signature; by default, those that the trainer gave last, as far as they are of no completion.
        """
        verifier = self.verifiers[name]
        if verifier.learned:
            outcomes = self._learned(name, completions, examples)
        else:
            groups = runs(examples) if groups is None and verifier.calls == "group" else groups or ()
            calls = calls_of(verifier, completions, examples, groups)
            outcomes = [Outcome()] * len(completions)
            judged = self._called(verifier, calls, self.beside if beside is None else beside)
            for call, verdicts in zip(calls, judged, strict=True):
                for rows, verdict in zip(call.rows, verdicts, strict=True):
                    for row in rows:
                        outcomes[row] = verdict
        for outcome, example in zip(outcomes, examples, strict=True):
            if outcome.problem is not None:
                if not self.problems[name]:
                    log.warning(
                        "verifier %s failed on example %s: %s. Such completions get no reward; further ones are only counted.",
                        name,
                        example.id,
                        outcome.message,
                    )
                self.problems[name][outcome.problem] += 1
        self._give_up(name, outcomes)
        return outcomes

    def _called(self, verifier: Verifier, calls: Sequence[Call], beside: Mapping[str, Any]) -> list[list[Outcome]]:
        if not verifier.isolated:
            return [[judge(verifier, str(call.completions[0]), call.examples[0])] for call in calls]
        columns = beside if verifier.calls == "trl" else {}
        return self._pool(verifier).calls([Job(verifier, call.completions, call.examples, columns) for call in calls])

    def _learned(self, name: str, completions: Sequence[Completion], examples: Sequence[Example]) -> list[Outcome]:
        if name not in self.models:
            raise RuntimeError(
                f"reward.{name}: no model is loaded; call entropostat.trainers.build.reward_model.attach first"
            )
        scores = self.models[name](completions, examples) if completions else []
        return [_learned(score, self.verifiers[name].heaviest) for score in scores]

    def _give_up(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Raises RunFault where the workers die whatever they are given: no reward of the run would mean anything."""
        if not outcomes:
            return
        died = all(outcome.message.startswith(DIED) for outcome in outcomes)
        self._lost[name] = self._lost[name] + 1 if died else 0
        if self._lost[name] >= PATIENCE:
            raise RunFault(
                f"reward.{name}: of {PATIENCE} calls in a row no completion was judged, {outcomes[-1].message} each time; "
                "look for a crash in what the verifier calls, or for memory that ran out"
            )

    def check(self) -> None:
        """Raises ImportError for a verifier whose code or library cannot be imported. Starts the workers."""
        for name, verifier in self.verifiers.items():
            if verifier.isolated and (why := self._pool(verifier).prepare(verifier)):
                raise ImportError(f"reward.{name}: {why}")

    def verify(self, completions: Sequence[Completion], examples: Sequence[Example]) -> list[Outcome]:
        """The verdicts of the judge of each example's source: what evaluation counts. A completion that nobody can judge is not
        right."""
        found = [Outcome()] * len(completions)
        judges = [self.judge(example.source) for example in examples]
        for name in dict.fromkeys(filter(None, judges)):
            rows = [row for row, judge in enumerate(judges) if judge == name]
            self._fill(found, rows, name, completions, examples)
        return found

    def learned(self, completions: Sequence[Completion], examples: Sequence[Example]) -> dict[str, list[float | None]]:
        """Scores of every reward model, by name; None where it does not judge the source."""
        scores: dict[str, list[float | None]] = {}
        for name, verifier in self.verifiers.items():
            if verifier.learned:
                found = [Outcome()] * len(completions)
                rows = [row for row, example in enumerate(examples) if verifier.judges(example.source)]
                self._fill(found, rows, name, completions, examples)
                scores[name] = [outcome.score for outcome in found]
        return scores

    def _fill(
        self,
        found: list[Outcome],
        rows: Rows,
        name: str,
        completions: Sequence[Completion],
        examples: Sequence[Example],
    ) -> None:
        """Puts the verdicts of one verifier on ``rows`` where they belong."""
        outcomes = self.score(name, [completions[row] for row in rows], [examples[row] for row in rows])
        for row, outcome in zip(rows, outcomes, strict=True):
            found[row] = outcome

    def close(self) -> None:
        """End the worker processes; they start again if needed."""
        while self._workers:
            self._workers.popitem()[1].close()

    def _pool(self, verifier: Verifier) -> Workers:
        sealed = verifier.user_code is None
        if sealed not in self._workers:
            alike = [v for v in self.verifiers.values() if v.isolated and (v.user_code is None) == sealed]
            self._workers[sealed] = Workers(alike, count=self._worker_count, sealed=sealed)
        return self._workers[sealed]


def _learned(score: float | None, weight: float) -> Outcome:
    why = unusable(score, weight)
    return Outcome(score) if why is None else Outcome(problem="error", message=f"the model {why}")
