"""How the verdict of a call comes back from a worker: one line of JSON. The worker may run what the policy wrote, so that nothing that it sends
is unpickled, and nothing is taken for more than it can be.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import Any

from entropostat.reward.judge import LONGEST, Outcome, said, unusable

BEGUN, READY = b"begun", b"ready"
"""The first two lines of a worker: our code runs, and what the verifiers import is imported."""
MOST = 1 << 20
"""Bytes of a line."""
ANSWER = MOST // 16
"""Characters of an answer; each takes at most twelve bytes. Of longer ones their hash is sent: they are only compared."""


class Forged(ValueError):
    """No line that ``encoded`` writes."""


def encoded(number: int, outcome: Outcome) -> bytes:
    """In the worker, for the job of that ``number``."""
    answer = outcome.answer
    if answer is not None and len(answer) > ANSWER:
        answer = hashlib.sha256(answer.encode("utf-8", "surrogatepass")).hexdigest()
    strategy = outcome.strategy and outcome.strategy[:LONGEST]
    line = [number, outcome.score, answer, strategy, outcome.problem, outcome.message[: 2 * LONGEST]]
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def decoded(line: bytes, number: int, weight: float) -> Outcome:
    """In the trainer. Raises Forged, which says why, for what is no verdict on the job of that ``number``."""
    fields = _listed(line, 6)
    job, score, answer, strategy, problem, message = fields
    if job != number or not isinstance(job, float):
        raise Forged("a verdict on another completion")
    if not (score is None or isinstance(score, float)) or problem not in (None, "error"):
        raise Forged("a score or a problem of another kind")
    if not (_text(answer, ANSWER) and _text(strategy, LONGEST) and _text(message, 2 * LONGEST)) or message is None:
        raise Forged("a text that is none, or too long")
    if problem == "error":
        return Outcome(problem="error", message=said(message))
    if unusable(score, weight) is not None:
        raise Forged("a score that no verdict has")
    return Outcome(score, answer, strategy)


def encoded_scores(number: int, outcomes: Sequence[Outcome]) -> bytes:
    """In the worker, for the call of that ``number`` on several completions: their scores, which were lost, and why the first was."""
    lost = [place for place, outcome in enumerate(outcomes) if outcome.problem is not None]
    message = outcomes[lost[0]].message[: 2 * LONGEST] if lost else ""
    line = [number, [outcome.score for outcome in outcomes], lost, message]
    return json.dumps(line, allow_nan=False).encode() + b"\n"


def decoded_scores(line: bytes, number: int, weight: float, count: int) -> list[Outcome]:
    """In the trainer. Raises Forged, which says why, for what is no verdict on the ``count`` completions of that call."""
    job, scores, lost, message = _listed(line, 4)
    if job != number or not isinstance(job, float):
        raise Forged("a verdict on other completions")
    if not isinstance(scores, list) or len(scores) != count or not isinstance(lost, list) or len(lost) > count:
        raise Forged("not one score for each completion")
    if not _text(message, 2 * LONGEST) or message is None:
        raise Forged("a text that is none, or too long")
    if any(score is not None and (not isinstance(score, float) or unusable(score, weight)) for score in scores):
        raise Forged("a score that no verdict has")
    outcomes = [Outcome(score) for score in scores]
    for place in lost:
        if not isinstance(place, float) or not place.is_integer() or not 0 <= place < count:
            raise Forged("a completion that was not there")
        outcomes[int(place)] = Outcome(problem="error", message=said(message))
    return outcomes


def _listed(line: bytes, count: int) -> list[Any]:
    try:
        fields = json.loads(line.decode("ascii"), parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Forged("no JSON") from None
    if not isinstance(fields, list) or len(fields) != count:
        raise Forged(f"no list of {count}")
    return fields


def _text(value: Any, most: int) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= most)


def _refuse(constant: str) -> float:
    raise ValueError(constant)
