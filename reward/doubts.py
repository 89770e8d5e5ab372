"""Functions of the user's, looked at before anything is trained: does a reference answer get more than a wrong one?

They may score anything, such as length or style, so that what is found is a doubt and no fault.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from entropostat.data.example import Example
from entropostat.data.sample import spread
from entropostat.reward.forms import alone, worked
from entropostat.reward.judge import Outcome
from entropostat.reward.references import Pools, judged, named, patient
from entropostat.reward.scoring import Scorer
from entropostat.visible import shorten

FEW = 4
"""References that a function is tried on: it may be slow, and it may cost money."""
SECONDS = 10.0
"""After which it is tried on no further one."""
WRONG = "2187451"


@dataclass(frozen=True)
class Doubt:
    """How often a function gave a reference no more than a wrong answer in the same forms."""

    verifier: str
    tried: int
    no_better: int
    failed: int
    """References on which every call failed."""
    example: str
    """What was said first."""

    def line(self) -> str:
        if self.failed:
            return f"{self.verifier} fails on {self.failed} of {self.tried} reference answers: {self.example}"
        return (
            f"{self.verifier} gives {self.no_better} of {self.tried} reference answers no more than a wrong one: {self.example}. "
            "That is as it should be where it scores something other than being right, or wants a form of its own"
        )


def doubts(scorer: Scorer, sources: Pools) -> Iterator[Doubt]:
    """Of each function that is called here, on its sources; nothing where no prompt has an answer. One of TRL's signature wants columns
    that only a trainer has."""
    for name, verifier in scorer.verifiers.items():
        mine = [pool for key, pool in sources.items() if verifier.judges(named(key))]
        rows = [example for pool in mine for example in spread(pool, 100 * FEW)]
        distinct = {example.answer: example for example in rows if example.answer is not None}
        chosen = spread(list(distinct.values()), FEW)
        if verifier.user_code is not None and not verifier.compares and verifier.calls != "trl" and chosen:
            doubt = _doubt(scorer, name, chosen)
            if doubt.no_better or doubt.failed:
                yield doubt


def _doubt(scorer: Scorer, name: str, examples: Sequence[Example]) -> Doubt:
    verifier = patient(scorer.verifiers[name])
    until = time.monotonic() + SECONDS
    tried = no_better = failed = 0
    said = ""
    for example in examples:
        if time.monotonic() > until:
            break
        answer = alone(example.answer or "")
        wrong = f"{answer}1" if answer[-1:].isdigit() else WRONG
        texts = verifier.worked(example)
        outcomes = judged(scorer, verifier, [(text, example) for text in (*texts, *worked(example, wrong))])
        best, other = _best(outcomes[: len(texts)]), _best(outcomes[len(texts) :])
        errors = [outcome.message for outcome in outcomes if outcome.problem == "error"]
        tried += 1
        if len(errors) == len(outcomes):
            failed += 1
            said = said or errors[0]
        elif best is not None and other is not None and best <= other:
            no_better += 1
            said = said or f"{other:g} for {shorten(wrong)} where {shorten(answer)} is right and gets {best:g}"
    return Doubt(name, tried, no_better, failed, said)


def _best(outcomes: Sequence[Outcome]) -> float | None:
    """None where every call failed, came too late or had no say."""
    return max((outcome.score for outcome in outcomes if outcome.score is not None), default=None)
