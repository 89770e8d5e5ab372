"""From the sums of a closed window to the numbers that the monitors log, equal on every rank."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from entropostat.rl.controllers.forecast import LEAST, Forecast
from entropostat.rl.diagnostics import entropy
from entropostat.rl.diagnostics.trust import NAMES
from entropostat.trainers.window import Window

DRAWN = 32
"""Bins of the histogram that is written."""
FORECAST = Forecast("pushed", "realised", "generation", forgetting=0.98, slope_max=math.inf)


@dataclass
class Memory:
    """What the monitors know from earlier steps."""

    ceiling: float
    """ln V, nats."""
    fork: float | None = None
    """Entropy above which a token is a fork: a quantile of the first generation."""
    forecast: dict[str, float] = field(default_factory=FORECAST.init)
    histogram: dict[str, Any] | None = None
    """The newest, ready to be written; whoever writes it takes it away."""

    def state(self) -> dict[str, Any]:
        return {"fork": self.fork, "forecast": self.forecast}

    def restore(self, state: dict[str, Any]) -> None:
        self.fork = state.get("fork", self.fork)
        self.forecast |= state.get("forecast", {})


def of_generation(window: Window, memory: Memory, step: int) -> dict[str, float]:
    """What came with the first window of a generation; {} for the others."""
    found: dict[str, float] = {}
    if "histogram" in window.pooled:
        counts = window.pooled["histogram"]
        *values, fork = entropy.quantiles(counts, [*entropy.QUANTILES.values(), entropy.FORKING], memory.ceiling)
        found |= {f"entropy/{key}": value for key, value in zip(entropy.QUANTILES, values, strict=True)}
        if memory.fork is None and math.isfinite(fork):
            memory.fork = fork
        if memory.fork is not None:
            found["entropy/forking"] = entropy.share_above(counts, memory.fork, memory.ceiling)
        edges, drawn = entropy.coarse(counts, memory.ceiling, DRAWN)
        memory.histogram = {"step": step, "key": "entropy", "edges": edges, "counts": drawn}
    if "position" in window.pooled:
        place = window.pooled["position"]
        pairs = zip(place[: entropy.DECILES], place[entropy.DECILES :], strict=True)
        found |= {f"entropy/position/{i}": ratio(total, count) for i, (total, count) in enumerate(pairs)}
    if "outcome" in window.pooled:
        outcome = window.pooled["outcome"]
        for name, (total, tokens, rows) in {"right": outcome[:3], "wrong": outcome[3:]}.items():
            found |= {f"entropy/{name}": ratio(total, tokens), f"text/length_{name}": ratio(tokens, rows)}
    for key, name in (
        ("text/repetition", "text"),
        ("trust/sampler_gap", "sampler"),
        ("forces/covariance/mean", "covariance"),
    ):
        if name in window.pooled:
            found[key] = ratio(*window.pooled[name])
    if "covariance" in window.peaked:
        found["forces/covariance/max"] = window.peaked["covariance"][0]
    return found


def of_step(
    window: Window, memory: Memory, parts: tuple[list[str], list[str]], world: int, generation: int
) -> dict[str, float]:
    """What a monitored step measured. ``parts``: the loss's parts, and the terms that touch some tokens and not others."""
    pooled, tokens = window.pooled, window.tokens
    found: dict[str, float] = {}
    if "kl_old" in window.signals:
        found["trust/kl_old"] = window.signals["kl_old"]
    if "trust" in pooled:
        found |= {f"trust/{key}": ratio(total, tokens) for key, total in zip(NAMES, pooled["trust"], strict=False)}
        found |= {"trust/ratio_max": window.peaked["ratio"][0], "trust/ratio_min": -window.peaked["ratio"][1]}
    if "touched" in pooled:
        values = iter(pooled["touched"])
        for name in parts[1]:
            found[f"forces/{name}/touched_up"] = ratio(next(values), tokens)
            found[f"forces/{name}/touched_down"] = ratio(next(values), tokens)
    if "forces" not in pooled or not tokens:
        return found
    sizes, pushes = pooled["forces"][::2], [value / world for value in pooled["forces"][1::2]]
    for name, size, pushed in zip(parts[0], sizes, pushes, strict=True):
        found |= {f"forces/{name}/share": ratio(size, sum(sizes)), f"forces/{name}/entropy": pushed}
    if "realised" in pooled:
        realised = ratio(pooled["realised"][0], tokens)
        signals = {
            "pushed": sum(x for x in pushes if math.isfinite(x)),
            "realised": realised,
            "generation": float(generation),
        }
        first = generation != memory.forecast["line_generation"]
        memory.forecast = {**memory.forecast, **FORECAST.learn(memory.forecast, signals)}
        if memory.forecast["line_n"] >= LEAST:  # before, nobody knows what a push is worth in nats
            found["forces/predicted"] = FORECAST.change(memory.forecast)
        if not first:  # of the policy that generated nothing has changed yet
            found["forces/realised"] = realised
    return found


def ratio(total: float, count: float) -> float:
    """NaN, which is not logged, where there is nothing to divide by."""
    return total / count if count else math.nan
