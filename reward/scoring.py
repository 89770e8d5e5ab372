"""The verifiers of a recipe as reward functions of the trainer and as the judge of the evaluation."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from entropostat.data.example import Example, Message, Prompt
from entropostat.faults import RunFault
from entropostat.reward.judge import Outcome, judge, unusable
from entropostat.reward.silence import Silence
from entropostat.reward.verifier import Verifier
from entropostat.reward.workers import DIED, Workers

log = logging.getLogger(__name__)

Completion = str | Sequence[Message]

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
    """Runs verifiers on completions. One of them, ``judge``, decides what counts as right in evaluation."""

    def __init__(
        self, verifiers: Mapping[str, Verifier], *, allow_code: bool = False, workers: int | None = None
    ) -> None:
        """``verifiers`` maps names (metrics carry them) to verifiers, in the recipe's order."""
        for name, verifier in verifiers.items():
            if verifier.user_code and not allow_code:
                raise PermissionError(
                    f"reward.{name}: this recipe runs your own code ({verifier.user_code}); pass --allow-code to allow it"
                )
        self.verifiers = dict(verifiers)
        self.models: dict[str, Model] = {}
        """The trainer puts one here for every learned verifier, by name."""
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
        return [RewardFunction(self, name) for name in self.verifiers]

    @property
    def weights(self) -> list[float]:
        """For TRL's ``reward_weights``."""
        return [verifier.weight for verifier in self.verifiers.values()]

    @property
    def answers(self) -> list[str | None]:
        """The answer keys of the completions that the reward functions saw last, in their order: of each, the key of the
        first verifier that found one. Never by what others found, which differs between the ranks of a group.
        """
        columns = [self._keys[name] for name in self.verifiers if name in self._keys]
        return [next((key for key in keys if key is not None), None) for keys in zip(*columns, strict=True)]

    @property
    def judge(self) -> str | None:
        """Name of the verifier that decides in evaluation: the first that is no reward model and judges more than form, else the
        first that is no reward model; None without one."""
        able = [name for name, verifier in self.verifiers.items() if not verifier.learned]
        return next((name for name in able if not self.verifiers[name].form), next(iter(able), None))

    @property
    def strategies(self) -> tuple[str, ...]:
        """The known strategies, by the verifier that decides."""
        return () if self.judge is None else self.verifiers[self.judge].strategies

    def score(self, name: str, completions: Sequence[Completion], examples: Sequence[Example]) -> list[Outcome]:
        """Verdicts of one verifier. Problems are counted, and the first of each verifier is logged."""
        verifier = self.verifiers[name]
        if verifier.learned:
            outcomes = [_learned(score, verifier.weight) for score in self._model(name)(completions, examples)]
        else:
            jobs = [(verifier, content(c), e) for c, e in zip(completions, examples, strict=True)]
            outcomes = self._pool(verifier).run(jobs) if verifier.isolated else [judge(*job) for job in jobs]
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

    def _give_up(self, name: str, outcomes: Sequence[Outcome]) -> None:
        """Raises RunFault where the workers die whatever they are given: no reward of the run would mean anything."""
        died = bool(outcomes) and all(outcome.message.startswith(DIED) for outcome in outcomes)
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
        """The judge's verdicts: what evaluation counts. A completion that it cannot judge is not right."""
        return [Outcome()] * len(completions) if self.judge is None else self.score(self.judge, completions, examples)

    def learned(self, completions: Sequence[Completion], examples: Sequence[Example]) -> dict[str, list[float | None]]:
        """Scores of every reward model, by name."""
        names = [name for name, verifier in self.verifiers.items() if verifier.learned]
        return {name: [outcome.score for outcome in self.score(name, completions, examples)] for name in names}

    def close(self) -> None:
        """End the worker processes; they start again if needed."""
        while self._workers:
            self._workers.popitem()[1].close()

    def _model(self, name: str) -> Model:
        if name not in self.models:
            raise RuntimeError(
                f"reward.{name}: no model is loaded; call entropostat.trainers.build.reward_model.attach first"
            )
        return self.models[name]

    def _pool(self, verifier: Verifier) -> Workers:
        sealed = verifier.user_code is None
        if sealed not in self._workers:
            alike = [v for v in self.verifiers.values() if v.isolated and (v.user_code is None) == sealed]
            self._workers[sealed] = Workers(alike, count=self._worker_count, sealed=sealed)
        return self._workers[sealed]


class RewardFunction:
    """One verifier in the shape of a TRL reward function."""

    def __init__(self, scorer: Scorer, name: str) -> None:
        self.scorer = scorer
        self.__name__ = name
        self.begun = False
        """The trainer has looked at its first scores."""
        self.silence = Silence()
        """Of the last call."""

    def __call__(
        self,
        prompts: Sequence[Prompt],
        completions: Sequence[Completion],
        log_metric: Callable[[str, float], None] | None = None,
        **columns: Any,
    ) -> list[float | None]:
        """``columns`` are those of ``to_dataset``; ``None`` means that the verifier has no say on the completion."""
        name = self.__name__
        before = Counter(self.scorer.problems[name])
        examples = examples_of(prompts, columns)
        outcomes = self.scorer.score(name, completions, examples)
        self.silence = Silence.of(outcomes, examples)
        self.scorer._keys[name] = [outcome.answer for outcome in outcomes]
        if log_metric is not None:
            lost = self.scorer.problems[name] - before
            log_metric(f"verifier/{name}/errors", float(lost["error"]))
            log_metric(f"verifier/{name}/failed", sum(lost.values()) / max(len(outcomes), 1))
            if self.scorer.verifiers[name].learned:
                log_metric(f"verifier/{name}/truncated", float(self.scorer.models[name].truncated))
            else:
                log_metric(f"verifier/{name}/timeouts", float(lost["timeout"]))
        return [outcome.score for outcome in outcomes]


def _learned(score: float | None, weight: float) -> Outcome:
    why = unusable(score, weight)
    return Outcome(score) if why is None else Outcome(problem="error", message=f"the model {why}")


def examples_of(prompts: Sequence[Prompt], columns: Mapping[str, Any]) -> list[Example]:
    """Undo ``to_dataset``."""
    rows = zip(prompts, columns["answer"], columns["meta"], columns["id"], strict=True)
    return [Example(prompt, answer, json.loads(meta), id) for prompt, answer, meta, id in rows]


def content(completion: Completion) -> str:
    """The text that a verifier reads: of a conversation, the last thing that the assistant said."""
    if isinstance(completion, str):
        return completion
    said = [message["content"] for message in completion if message["role"] == "assistant"]
    return said[-1] or "" if said else ""
