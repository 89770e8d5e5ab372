"""Before anything is trained: does each verifier take the reference answers for right?

A reference that is written as a right completion would write it must score 1, or no completion ever will on that prompt.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from entropostat.data.example import Example
from entropostat.data.sample import spread
from entropostat.reward.forms import asked
from entropostat.reward.judge import Outcome, judge
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.visible import shorten

ROWS = 20_000
"""Of a source, evenly over it, whose references are looked at."""
MOST = 1000
"""Distinct references that a verifier is asked about, over all sources."""
PORTION = 16
"""References between two looks at the clock."""
SECONDS = 20.0
"""For all of them. What is left then stays untried."""
PATIENCE = 3.0
"""Seconds for one reference, where the verifier's own time-out is longer."""
SHOWN = 3
HALF = 0.5
Pools = Mapping[str, Sequence[Example]]
"""By the recipe's key, such as data.sources.maths."""


@dataclass(frozen=True)
class Misread:
    """A reference that is not right by its own verifier."""

    id: str
    reference: str
    written: str
    """The completion that was tried: the first of its forms."""
    read: str
    """What the verifier found in it, or what went wrong."""

    def __str__(self) -> str:
        return f"{shorten(self.reference)} written as {shorten(self.written)} is read as {self.read}"


@dataclass(frozen=True)
class Reading:
    """How a verifier takes the references of a source. Counts are of rows: equal references are tried once."""

    verifier: str
    source: str
    rows: int
    """Of the source, with and without a reference."""
    tried: int = 0
    unread: int = 0
    silent: int = 0
    """It has no say on them, or nobody knows how a right answer would look to it."""
    examples: tuple[Misread, ...] = ()
    left: bool = False
    """To another verifier of the recipe, which reads them, as this one reads another source."""

    @property
    def share(self) -> float:
        """Of what was tried, what is not read."""
        return self.unread / self.tried if self.tried else 0.0

    def line(self) -> str:
        where = f"{self.source} ({self.rows:,} rows)"
        if not self.tried:
            return f"{self.verifier} has no say on the references of {where}, or nobody knows how it wants them"
        if not self.unread:
            return f"{self.verifier} reads all {self.tried:,} references tried of {where}"
        end = "; another verifier reads them" if self.left else ""
        unread = f"{self.unread:,} of {self.tried:,} references tried"
        return f"{self.verifier} does not read {unread} of {where}, {percent(self.share)}{end}"


def read(scorer: Scorer, sources: Pools, sets: Pools | None = None) -> list[Reading]:
    """Every verifier that compares, on its ``sources``; on each of ``sets`` the one that decides there. Prompts are as the policy is
    asked, with the system message: they say in which form an answer is wanted.
    """
    until = time.monotonic() + SECONDS
    readings: list[Reading] = []
    for name, verifier in scorer.verifiers.items():
        if verifier.learned or not verifier.compares:
            continue
        given = {key: rows for key, rows in sources.items() if verifier.judges(named(key))}
        given |= {key: rows for key, rows in (sets or {}).items() if scorer.judge(named(key)) == name}
        for source, rows in given.items():
            examples = [example for example in spread(rows, ROWS) if example.answer is not None]
            if examples:
                found = _reading(scorer, name, examples, MOST // len(given) or 1, until)
                readings.append(replace(found, source=source, rows=len(rows)))
    return [replace(reading, left=_left(reading, readings)) for reading in readings]


def named(key: str) -> str:
    """``data.sources.NAME`` and ``evaluate.sets.NAME`` without what is before the name."""
    return key.split(".", 2)[-1]


def unanswered(scorer: Scorer, sources: Pools) -> Iterator[str]:
    """What is wrong with each verifier that needs reference answers where no prompt of its sources has one."""
    for name, verifier in scorer.verifiers.items():
        mine = {key: pool for key, pool in sources.items() if verifier.judges(named(key))}
        examples = [example for pool in mine.values() for example in spread(pool, ROWS)]
        if verifier.learned or not verifier.compares or not examples or any(one.answer is not None for one in examples):
            continue
        outcomes = judged(scorer, patient(verifier), [("", example) for example in spread(examples, SHOWN)])
        if all(outcome.score is None and outcome.problem is None for outcome in outcomes):
            yield (
                f"reward.{name} scores no completion: no prompt has a reference answer; name its column in the data source's "
                "answer, or use a verifier that needs none, such as function or model"
            )


def problem(readings: Sequence[Reading], most: float) -> str | None:
    """The line that stops a run; None where no source has more than the share ``most`` that a verifier does not read."""
    worst = max((r for r in readings if r.share > most and not r.left), key=lambda r: r.share, default=None)
    if worst is None:
        return None
    return (
        f"reward.{worst.line()}, and data.unread allows {percent(most)}: {worst.examples[0]}; correct the answers, the source's "
        "answer_regex or the verifier's options, ask for the form that it reads, or raise data.unread (null: not looked at)"
    )


def _reading(scorer: Scorer, name: str, examples: Sequence[Example], most: int, until: float) -> Reading:
    verifier = patient(scorer.verifiers[name])
    alike: dict[tuple[object, ...], list[Example]] = {}
    for example in examples:
        alike.setdefault((example.answer, *asked(example)), []).append(example)
    tried = unread = silent = 0
    misread: list[Misread] = []
    chosen = spread(list(alike.values()), most)
    for begin in range(0, len(chosen), PORTION):
        if begin and time.monotonic() > until:
            break
        portion = chosen[begin : begin + PORTION]
        verdicts = _tried(scorer, verifier, [group[0] for group in portion], until)
        for group, (text, outcome) in zip(portion, verdicts, strict=True):
            if outcome.score is None and outcome.problem is None:
                silent += len(group)
                continue
            tried += len(group)
            if not outcome.right:
                unread += len(group)
                misread.append(Misread(group[0].id, group[0].answer or "", text, _found(outcome)))
    return Reading(name, "", 0, tried, unread, silent, tuple(misread[:SHOWN]))


def _tried(scorer: Scorer, verifier: Verifier, examples: Sequence[Example], until: float) -> list[tuple[str, Outcome]]:
    """Of each example the first of its forms that is right, or the first on which there is a say, with the verdict."""
    forms = [verifier.worked(example) for example in examples]
    found: list[tuple[str, Outcome]] = [("", Outcome())] * len(examples)
    waiting = [place for place, texts in enumerate(forms) if texts]
    depth = 0
    while waiting and not (depth and time.monotonic() > until):
        outcomes = judged(scorer, verifier, [(forms[place][depth], examples[place]) for place in waiting])
        for place, outcome in zip(waiting, outcomes, strict=True):
            said = found[place][1]
            if outcome.right or (said.score is None and said.problem is None):
                found[place] = (forms[place][depth], outcome)
        depth += 1
        waiting = [place for place in waiting if not found[place][1].right and depth < len(forms[place])]
    return found


def _left(reading: Reading, readings: Sequence[Reading]) -> bool:
    at_home = any(r.verifier == reading.verifier and r.tried and r.share < HALF for r in readings)
    others = [r for r in readings if r.source == reading.source and r.verifier != reading.verifier]
    return reading.share >= HALF and at_home and any(r.tried and r.share < HALF for r in others)


def missing(scorer: Scorer) -> list[tuple[str, str]]:
    """(name, why) of each verifier whose code or library cannot be imported."""
    isolated = [(name, verifier) for name, verifier in scorer.verifiers.items() if verifier.isolated]
    found = [(name, scorer._pool(verifier).prepare(verifier)) for name, verifier in isolated]
    return [(name, why) for name, why in found if why is not None]


def judged(scorer: Scorer, verifier: Verifier, jobs: Sequence[tuple[str, Example]]) -> list[Outcome]:
    """Verdicts on texts that no policy wrote: by the workers of the run, and counted nowhere."""
    given = [(verifier, *job) for job in jobs]
    return scorer._pool(verifier).run(given) if verifier.isolated else [judge(*job) for job in given]


def patient(verifier: Verifier) -> Verifier:
    return replace(verifier, timeout=min(verifier.timeout, PATIENCE))


def _found(outcome: Outcome) -> str:
    if outcome.problem is not None:
        return f"nothing ({outcome.message:.200})"
    return "nothing" if outcome.answer is None else shorten(outcome.answer)


def percent(share: float) -> str:
    return f"{100 * share:.3g} %"
