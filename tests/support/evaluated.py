"""An evaluation without a run around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from entropostat.data.example import Example
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked
from entropostat.trainers.evaluation.measure import Verify, evaluate
from entropostat.trainers.evaluation.rendering import Asking


def measured(
    model: Any,
    tokenizer: Any,
    sets: Mapping[str, Sequence[Example]],
    verify: Verify,
    settings: EvaluateSettings,
    **options: Any,
) -> dict[str, float]:
    """Of ``sets``, rendered as a trainer with this tokenizer would."""
    return evaluate(model, tokenizer, chunked(sets, settings, Asking(tokenizer)), verify, settings, **options)
