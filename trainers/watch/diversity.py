"""How different the completions of a generation are: their answers, and their words."""

from __future__ import annotations

import torch
from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.diagnostics import text
from entropostat.rl.diagnostics.consensus import consensus, information
from entropostat.rl.diagnostics.similarity import likeness, sketches
from entropostat.rl.diagnostics.whole import Texts, whole_groups
from entropostat.rl.reduce import Members, Reducer
from entropostat.rl.window import Window
from entropostat.trainers.watch.columns import Columns, groups_of

DISTINCT = 2
"""Size of the n-grams."""


def of_answers(every: Columns, scored: bool) -> dict[str, float]:
    """``every`` has the completions of all ranks; ``scored``: also their log-probs."""
    if bool(every.answer.isnan().all()):  # nobody gives any
        return {}
    told = consensus(every.answer, every.group, every.logp / every.tokens.clamp(min=1) if scored else None)
    told |= information(every.answer, every.group)
    return {f"text/answers/{key}": value for key, value in told.items()}


def pool_texts(ids: Tensor, batch: TokenBatch, every: Columns, window: Window, reducer: Reducer) -> None:
    """Of this rank's groups, and of those that begin here and go on elsewhere."""
    own = Texts(ids, batch.valid, groups_of(batch))
    texts = whole_groups(own, every.group, every.rank, every.width, reducer)
    if not len(texts.ids):  # its pools are those of the others
        texts = Texts(torch.zeros_like(ids[:1]), torch.zeros_like(batch.valid[:1]), own.groups[:1])
    members = Members.of(texts.groups)
    window.pool(f"text/distinct_{DISTINCT}", text.distinct_grams(texts.ids, texts.valid, members, DISTINCT))
    for name, sums in likeness(sketches(texts.ids, texts.valid), members).items():
        window.pool(f"text/{name}", sums)
