"""Completions and histograms of a run, cut to what a report can carry."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from entropostat.readers.rows import Row

COMPLETIONS = 300_000
"""Bytes of all completions together."""
TOKENS, CHARACTERS = 1_200, 6_000
"""Of one completion."""
COLUMNS = 200
"""Of a heat map."""


def completions(runs: Sequence[list[Row]]) -> dict[str, Any]:
    """``rows``: completions of all runs, each with its ``run``; ``total``: how many were recorded. Where there are too many,
    every run gives as many bytes, from its last step and from steps spread evenly over the run.
    """
    rows: list[dict[str, Any]] = []
    for index, recorded in enumerate(runs):
        by_step: dict[int, list[dict[str, Any]]] = {}
        for row in recorded:
            by_step.setdefault(row["step"], []).append(_completion(index, row))
        left = COMPLETIONS // max(len(runs), 1)
        kept = []
        for step in spread(list(by_step)):
            for row in by_step[step]:
                left -= len(json.dumps(row))
                if left > 0:
                    kept.append(row)
        rows += sorted(kept, key=lambda row: row["step"], reverse=True)
    return {"rows": rows, "total": sum(map(len, runs))}


def spread(items: list[Any]) -> list[Any]:
    """The last one first, then the first, the middle, the quarters: any beginning of the order covers the whole."""
    order: list[int] = [len(items) - 1, 0]
    parts = 1
    while parts < 2 * len(items):
        order += [round((len(items) - 1) * part / parts) for part in range(1, parts)]
        parts *= 2
    return [items[index] for index in dict.fromkeys(order)] if items else []


def _completion(run: int, row: Row) -> dict[str, Any]:
    kept = {"run": run, **{key: row[key] for key in ("step", "rewards", "advantage")}}
    kept["prompt"] = row["prompt"][:CHARACTERS]
    if "tokens" in row:
        kept["tokens"] = row["tokens"][:TOKENS]
        kept["entropies"] = [None if value is None else round(value, 2) for value in row["entropies"][:TOKENS]]
        kept["cut"] = len(row["tokens"]) - len(kept["tokens"])
    else:
        text = row["completion"]
        kept |= {"text": text[:CHARACTERS], "cut": len(text) - len(text[:CHARACTERS])}
    return kept


def heat_maps(recorded: Sequence[Row]) -> list[dict[str, Any]]:
    """One for each key of histograms.jsonl: ``steps`` (C), ``edges`` (bins + 1) and ``shares`` (C, bins) in parts of 255.

    Histograms with other edges than the last one's are left out: their bins do not compare.
    """
    by_key: dict[str, list[Row]] = {}
    for row in recorded:
        by_key.setdefault(row["key"], []).append(row)
    return [_heat_map(key, rows) for key, rows in by_key.items()]


def _heat_map(key: str, rows: list[Row]) -> dict[str, Any]:
    edges = rows[-1]["edges"]
    rows = [row for row in rows if row["edges"] == edges]
    counts = np.array([row["counts"] for row in rows], dtype=float)
    groups = np.array_split(np.arange(len(rows)), min(len(rows), COLUMNS))
    merged = np.array([counts[group].sum(0) for group in groups])
    shares = merged / np.maximum(merged.sum(1, keepdims=True), 1)
    top = float(shares.max()) or 1.0
    return {
        "key": key,
        "steps": [rows[group[-1]]["step"] for group in groups],
        "edges": edges,
        "top": top,
        "shares": [[round(float(value) / top * 255) for value in column] for column in shares],
    }
