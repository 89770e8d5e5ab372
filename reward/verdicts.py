"""How a verdict comes back from a worker: one line of JSON. The worker may run what the policy wrote, so that nothing that it sends
is unpickled, and nothing is taken for more than it can be.
"""

from __future__ import annotations

import hashlib
import json
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
    try:
        fields = json.loads(line.decode("ascii"), parse_int=float, parse_constant=_refuse)
    except (ValueError, RecursionError):
        raise Forged("no JSON") from None
    if not isinstance(fields, list) or len(fields) != 6:
        raise Forged("no list of six")
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


def _text(value: Any, most: int) -> bool:
    return value is None or (isinstance(value, str) and len(value) <= most)


def _refuse(constant: str) -> float:
    raise ValueError(constant)
