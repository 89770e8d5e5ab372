"""One verifier on several completions in one call: whatever happens, an outcome for each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Real
from typing import Any

from entropostat.data.example import Completion, Example
from entropostat.reward.judge import Outcome, said, unusable
from entropostat.reward.verifier import Verifier


def judge_many(
    verifier: Verifier, completions: Sequence[Completion], examples: Sequence[Example], columns: Mapping[str, Any]
) -> list[Outcome]:
    """Runs in a worker. A score that training cannot use costs its completion; a call that raises, or that gives no score for
    each completion, costs all of them.
    """
    count = len(completions)
    try:
        return [_outcome(score, verifier) for score in _listed(verifier.scores(completions, examples, columns), count)]
    except BaseException as error:  # noqa: BLE001  (user code may raise anything, and may call exit)
        message = str(error) if isinstance(error, _Unlisted) else f"{type(error).__name__}: {said(error)}"
        return [Outcome(problem="error", message=message)] * count


class _Unlisted(ValueError):
    """What was returned is no list of scores."""


def _listed(returned: Any, count: int) -> list[Any]:
    wanted = f"a list of {count} score{'s' * (count != 1)}, one for each completion"
    if not isinstance(returned, list | tuple) and callable(getattr(returned, "tolist", None)):
        returned = returned.tolist()  # an array or a tensor
    if isinstance(returned, Real):
        raise _Unlisted(f"returned {said(returned):.40} instead of {wanted}; form: single judges one at a time")
    if not isinstance(returned, list | tuple):
        raise _Unlisted(f"returned {type(returned).__name__} {said(returned)!r:.60} instead of {wanted}")
    if len(returned) != count:
        raise _Unlisted(f"returned {len(returned)} scores instead of {wanted}")
    return list(returned)


def _outcome(score: Any, verifier: Verifier) -> Outcome:
    try:
        if not isinstance(score, Real) and callable(getattr(score, "item", None)):
            score = score.item()  # a tensor of one number
        why = unusable(score, verifier.heaviest)
        if why is None:
            return Outcome(None if score is None else float(score))
    except BaseException as error:  # noqa: BLE001  (of a number that is the user's own)
        why = f"{type(error).__name__}: {said(error)}"
    return Outcome(problem="error", message=why)
