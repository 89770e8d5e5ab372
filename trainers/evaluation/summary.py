"""One prompt's results, and the metrics of a set of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from entropostat.trainers.evaluation.draws import EvaluateSettings


@dataclass(frozen=True)
class Record:
    """One prompt's results: plain numbers, because they travel between ranks."""

    index: int
    right: list[bool]
    strategies: list[str | None]
    distinct: int
    tokens: int
    entropy: float
    reference_entropy: float
    greedy_right: bool
    learned: dict[str, list[float]]


def pass_at_k(n: int, c: int, k: int) -> float:
    """Probability that at least one of ``k`` completions drawn without replacement from ``n``, ``c`` of them right, is
    right: 1 - C(n-c, k) / C(n, k), as a product, which neither overflows nor cancels (https://arxiv.org/abs/2107.03374).
    """
    if not 0 <= c <= n or not 1 <= k <= n:
        raise ValueError(f"pass@k needs 0 <= c <= n and 1 <= k <= n, not n={n}, c={c}, k={k}")
    all_wrong = 1.0
    for i in range(k):
        all_wrong *= max(n - c - i, 0) / (n - i)
    return 1.0 - all_wrong


def summarise(records: Sequence[Record], settings: EvaluateSettings, with_reference: bool) -> dict[str, float]:
    """Means over prompts; over completions for lengths and strategies; over tokens for entropy."""
    n = settings.samples
    counts = [sum(record.right) for record in records]
    tokens = max(1, sum(record.tokens for record in records))
    entropy = sum(record.entropy for record in records) / tokens
    out: dict[str, float] = {}
    if settings.judged:
        out["pass@1"] = sum(counts) / (n * len(records))
        out |= {f"pass@{k}": sum(pass_at_k(n, c, k) for c in counts) / len(records) for k in settings.k if k > 1}
        if max(settings.k) > 1:
            out["gap"] = out[f"pass@{max(settings.k)}"] - out["pass@1"]
    if settings.greedy and settings.judged:
        out["greedy"] = sum(record.greedy_right for record in records) / len(records)
    for name in records[0].learned:
        scores = [score for record in records for score in record.learned[name]]
        if scores:
            out[f"reward/{name}"] = sum(scores) / len(scores)
    out["mean_length"] = tokens / (n * len(records))
    out["distinct"] = sum(record.distinct for record in records) / len(records)
    out["entropy"] = entropy
    if with_reference:
        reference = sum(record.reference_entropy for record in records) / tokens
        out["entropy_ratio"] = entropy / reference if reference > 0 else float("nan")
    pairs = [pair for record in records for pair in zip(record.strategies, record.right, strict=True)]
    seen = {strategy for strategy, _ in pairs if strategy is not None}
    for strategy in sorted(seen | set(settings.strategies)):
        rights = [right for label, right in pairs if label == strategy]
        out[f"share/{strategy}"] = len(rights) / len(pairs)
        if rights:
            out[f"accuracy/{strategy}"] = sum(rights) / len(rights)
    return out
