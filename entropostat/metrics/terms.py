"""What the terms of a recipe report, declared by their registration: read off the catalog, and not written here again.

A term's metrics are logged under the name that the recipe gives it, which is its kind unless it says ``name:``. The table has
them under the kind; ``table.find_in`` also finds those of a term that was given a name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from entropostat.catalog import TermInfo, load
from entropostat.metrics.schema import Metric, Row

ROW_OF_SLOT: Mapping[str, Row] = {
    **dict.fromkeys(("advantages", "weights", "penalties"), "forces"),
    **dict.fromkeys(("rewards", "data"), "learning"),
    "loss": "trust",
}
DISTANCES = frozenset({"kl", "k1", "divergence", "clamped", "ratio"})
"""Metrics that say how far the policy went, whatever reports them."""
UNITS = (("nats", r"\bnats\b(?! for)"), ("share", r"^(Share|Unbiased pass@k)\b"))
"""Unit -> how the meaning of a metric says so; a plain number otherwise."""


def metrics_of_terms() -> list[Metric]:
    terms = load().terms
    return [metric for slot in ROW_OF_SLOT for info in terms[slot].values() for metric in metrics_of(info)]


def metrics_of(info: TermInfo) -> list[Metric]:
    """Those of one term under its kind."""
    metrics = []
    for name, meaning in info.provides.items():
        unit = next((unit for unit, said in UNITS if re.search(said, meaning)), "1")
        row: Row = "trust" if name in DISTANCES else ROW_OF_SLOT[info.slot]
        panel = info.name if unit == "1" else f"{info.name} ({unit})"
        metrics.append(Metric(f"{info.name}/{name}", unit, "none", meaning, row, panel))
    return metrics


def kinds(objective: Mapping[str, Any]) -> dict[str, str]:
    """Name -> kind of every term that a recipe's ``objective:`` block, as recipe.yaml holds it, names differently."""
    by_name: dict[str, str] = {}
    for slot in ROW_OF_SLOT:
        block = objective.get(slot) or []
        for part in block if isinstance(block, list) else [block]:
            if isinstance(part, Mapping):
                kind, options = next(iter(part.items()))
                if isinstance(options, Mapping) and "name" in options:
                    by_name[str(options["name"])] = str(kind)
    return by_name
