"""reasoning-gym's own scorers."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, ClassVar

from entropostat.data.example import Example
from entropostat.data.sources.reasoning_gym import generator
from entropostat.reward import forms
from entropostat.reward.answers import THINKING, Thinking, spoken
from entropostat.reward.harmless import EVALUATED, OWN_TEXT, safe_answer
from entropostat.reward.patterns import check_pattern, find_answer
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("reasoning_gym", paper="https://arxiv.org/abs/2505.24760")
@dataclass(frozen=True, kw_only=True)
class ReasoningGymVerifier(Verifier):
    """The task's scorer. Scores are partial (countdown: 1 right, .05 wrong but parsed, .01 otherwise).

    Some scorers evaluate the completion as Python. They are given what is plainly a list, a sum or a formula, and of anything
    else an empty answer, so that nothing that the policy writes is run.
    """

    threshold: float | None = option(
        None, low=0, high=1, fixed=True, doc="1 from this score on, else 0; default: the partial score itself"
    )
    answer_regex: str | None = option(None, doc="the answer is the last match (first group); default: the whole text")
    thinking: Thinking = option("optional", doc=THINKING)  # noqa: RUF009

    def __post_init__(self) -> None:
        check_pattern("verifier reasoning_gym", self.answer_regex)

    libraries: ClassVar[tuple[str, ...]] = ("reasoning_gym",)

    @property
    def isolated(self) -> bool:
        return True  # several scorers parse or run what the model wrote

    def prepare(self) -> None:
        super().prepare()
        _watch()

    def score(self, completion: str, example: Example) -> float | None:
        if not {"task", "index"} <= set(example.meta):
            raise ValueError("the example does not come from a reasoning_gym source")
        dataset, entry = _entry(
            json.dumps({key: example.meta[key] for key in ("task", "size", "seed", "options", "index")})
        )
        if entry["question"] != example.text:
            raise ValueError(f"reasoning-gym generated another question for {example.id}: was the package upgraded?")
        tasks = {
            str(example.meta["task"]),
            str(entry["metadata"].get("source_dataset")),
        }  # of a composite, the second scores
        with _evaluating_nothing_else(tasks):
            score = float(dataset.score_answer(safe_answer(self.answer_key(completion, example), tasks), entry))
        return score if self.threshold is None else float(score >= self.threshold)

    def worked(self, example: Example) -> list[str]:
        """Of a task that states no answer of its own, none."""
        if example.answer is None:
            return []
        return forms.worked(example, example.answer, self.thinking, self.answer_regex)

    def answer_key(self, completion: str, example: Example) -> str | None:
        return find_answer(spoken(completion, self.thinking), self.answer_regex)


@lru_cache(maxsize=4096)
def _entry(key: str) -> tuple[Any, dict[str, Any]]:
    recipe = json.loads(key)
    dataset = _dataset(json.dumps({name: recipe[name] for name in ("task", "size", "seed", "options")}))
    return dataset, dataset[recipe["index"]]


@lru_cache(maxsize=16)
def _dataset(key: str) -> Any:
    return generator(json.loads(key))


class _Watched:
    """What the audit hook needs to know. A hook is for good, so that there is one and it is told."""

    hooked = False
    scoring = False
    refused = False


def _watch() -> None:
    if not _Watched.hooked:
        sys.addaudithook(_refuse_to_compile)
        _Watched.hooked = True


def _refuse_to_compile(event: str, arguments: tuple[object, ...]) -> None:
    if event == "compile" and _Watched.scoring and arguments[1] == "<string>":
        _Watched.refused = True
        raise PermissionError("this scorer is not known to evaluate anything")


@contextmanager
def _evaluating_nothing_else(tasks: set[str]) -> Iterator[None]:
    """No ``eval`` for a scorer that is not known to need one, such as a task of a later reasoning-gym or of somebody's own."""
    _Watched.scoring, _Watched.refused = not tasks & {*EVALUATED, *OWN_TEXT}, False
    try:
        yield
    except PermissionError:
        if not _Watched.refused:
            raise
    finally:
        _Watched.scoring = False
    if _Watched.refused:
        raise PermissionError(
            f"the scorer of reasoning_gym task {min(tasks)} evaluates text as Python, and nothing says which text is harmless there; "
            "score the task by a function of yours, with --allow-code"
        )
