"""The recipe's verifiers as verl's reward function: ``reward.custom_reward_function.path=pkg://entropostat.verl.reward``, ``name=score``.

verl calls it from threads of its reward workers, one completion at a time. Untrusted text is judged where it always is: in confined
processes with a time-out, of which each worker has its own.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer

_TURN = threading.Lock()
"""A scorer has one conversation with its processes at a time."""


def score(
    data_source: str,
    solution_str: str,
    ground_truth: str | None,
    extra_info: Mapping[str, Any] | None = None,
    *,
    verifiers: Sequence[Mapping[str, Any]],
    allow_code: bool = False,
    **_: Any,
) -> dict[str, float]:
    """``score``: the weighted sum of the verifiers that judge the source. ``acc``: what decides in evaluation.

    A completion that no verifier could judge has 0, as verl has no word for 'unknown'. Raises PermissionError for code of the user's
    without ``allow_code``.
    """
    told = extra_info or {}
    example = Example(
        prompt=str(told.get("asked", "")),
        answer=ground_truth,
        meta=json.loads(told.get("meta") or "{}"),
        id=str(told.get("id", "")),
        source=data_source,
    )
    with _TURN:
        scorer = _scorer(json.dumps([*map(dict, verifiers)]), allow_code)
        judging = [name for name, verifier in scorer.verifiers.items() if verifier.judges(data_source)]
        scores = {name: scorer.score(name, [solution_str], [example])[0].score for name in judging}
    weights = {name: (own := scorer.verifiers[name]).weights.get(data_source, own.weight) for name in judging}
    decides = scorer.judge(data_source)
    return {
        "score": sum(weights[name] * value for name, value in scores.items() if value is not None),
        "acc": float((scores.get(decides) if decides else None) or 0.0),
    }


@cache
def _scorer(verifiers: str, allow_code: bool) -> Scorer:
    named = {}
    for block in json.loads(verifiers):
        (kind, options), *_rest = block.items()
        options = dict(options or {})
        name = options.pop("name", kind)
        named[name] = VERIFIERS.build(kind, options)
    return Scorer(named, allow_code=allow_code, workers=1)
