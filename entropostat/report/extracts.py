"""Completions and histograms of a run, cut to what a report can carry."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

COMPLETIONS = 300_000
"""Bytes of all completions together."""
TOKENS, CHARACTERS = 1_200, 6_000
"""Of one completion."""
COLUMNS = 200
"""Of a heat map."""


def completions(runs: Sequence[list[dict[str, Any]]]) -> dict[str, Any]:
    """``rows``: completions of all runs, each with its ``run``; ``total``: how many were recorded. Where there are too many,
    every run gives as many bytes, from its last step and from steps spread evenly over the run.
    """
    rows: list[dict[str, Any]] = []
    for index, recorded in enumerate(runs):
        by_step: dict[Any, list[dict[str, Any]]] = {}
        for row in recorded:
            by_step.setdefault(row.get("step"), []).append(_completion(index, row))
        left = COMPLETIONS // max(len(runs), 1)
        kept = []
        for step in spread(list(by_step)):
            for row in by_step[step]:
                left -= len(json.dumps(row))
                if left > 0:
                    kept.append(row)
        rows += sorted(kept, key=lambda row: row["step"] if _is_number(row["step"]) else -1, reverse=True)
    return {"rows": rows, "total": sum(map(len, runs))}


def spread(items: list[Any]) -> list[Any]:
    """The last one first, then the first, the middle, the quarters: any beginning of the order covers the whole."""
    order: list[int] = [len(items) - 1, 0]
    parts = 1
    while parts < 2 * len(items):
        order += [round((len(items) - 1) * part / parts) for part in range(1, parts)]
        parts *= 2
    return [items[index] for index in dict.fromkeys(order)] if items else []


def _completion(run: int, row: dict[str, Any]) -> dict[str, Any]:
    kept = {"run": run, "step": row.get("step"), "rewards": row.get("rewards"), "advantage": row.get("advantage")}
    kept["prompt"] = _text(row.get("prompt"))[:CHARACTERS]
    tokens, entropies = row.get("tokens"), row.get("entropies")
    if isinstance(tokens, list) and isinstance(entropies, list) and len(tokens) == len(entropies) > 0:
        shown = [str(token) for token in tokens[:TOKENS]]
        kept["entropies"] = [round(value, 2) if _is_number(value) else None for value in entropies[:TOKENS]]
        kept |= {"tokens": shown, "cut": len(tokens) - len(shown)}
    else:
        text = _text(row.get("completion"))
        kept |= {"text": text[:CHARACTERS], "cut": len(text) - len(text[:CHARACTERS])}
    return kept


def _text(value: Any) -> str:
    """A string as it is, a chat as 'role: content' one below the other."""
    if isinstance(value, list) and all(isinstance(message, dict) for message in value):
        return "\n".join(f"{message.get('role', '')}: {message.get('content', '')}" for message in value)
    return value if isinstance(value, str) else json.dumps(value)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def heat_maps(recorded: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One for each key of histograms.jsonl: ``steps`` (C), ``edges`` (bins + 1) and ``shares`` (C, bins) in parts of 255.

    Histograms with other edges than the last one's are left out: their bins do not compare.
    """
    keys = dict.fromkeys(str(row["key"]) for row in recorded if _is_histogram(row))
    return [_heat_map(key, [row for row in recorded if _is_histogram(row) and row["key"] == key]) for key in keys]


def _heat_map(key: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    edges = rows[-1]["edges"]
    rows = [row for row in rows if row["edges"] == edges]
    counts = np.array([row["counts"] for row in rows], dtype=float)
    groups = np.array_split(np.arange(len(rows)), min(len(rows), COLUMNS))
    merged = np.array([counts[group].sum(0) for group in groups])
    shares = merged / np.maximum(merged.sum(1, keepdims=True), 1)
    top = float(shares.max()) or 1.0
    return {
        "key": key,
        "steps": [int(rows[group[-1]]["step"]) for group in groups],
        "edges": edges,
        "top": top,
        "shares": [[round(float(value) / top * 255) for value in column] for column in shares],
    }


def _is_histogram(row: dict[str, Any]) -> bool:
    edges, counts = row.get("edges"), row.get("counts")
    sized = isinstance(edges, list) and isinstance(counts, list) and len(edges) == len(counts) + 1
    return sized and bool(counts) and "key" in row and isinstance(row.get("step"), int)
