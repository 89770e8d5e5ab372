"""From the sums of a closed window to the numbers that the monitors log, equal on every rank."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from entropostat.rl.controllers.forecast import LEAST, Forecast
from entropostat.rl.diagnostics import entropy
from entropostat.rl.diagnostics.generations import KEPT, Generation, law_of_reward, measured, theorems
from entropostat.rl.diagnostics.trust import NAMES
from entropostat.rl.window import Closed

DRAWN = 32
"""Bins of the histogram that is written."""
FORECAST = Forecast("pushed", "realised", "generation", forgetting=0.98, slope_max=math.inf)


class Parts(NamedTuple):
    """Names, in the order of the columns that a monitored step pools."""

    of_loss: tuple[str, ...] = ()
    touching: tuple[str, ...] = ()
    """Terms that touch some tokens and not others."""


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

    newest: Generation = field(default_factory=Generation)
    """What is known of the generation whose first window is open."""
    generations: list[Generation] = field(default_factory=list)
    """Those before, the oldest first."""

    def state(self) -> dict[str, Any]:
        past = [list(one) for one in self.generations]
        return {"fork": self.fork, "forecast": self.forecast, "generations": past}

    def restore(self, state: dict[str, Any]) -> None:
        self.fork = state.get("fork", self.fork)
        self.forecast |= state.get("forecast", {})
        self.generations = [Generation(*one) for one in state.get("generations", [])]

    def add(self, generation: Generation) -> None:
        self.generations = [*self.generations[1 - KEPT :], generation]
        self.newest = Generation()


def of_generation(closed: Closed, memory: Memory, step: int) -> dict[str, float]:
    """What came with the first window of a generation; {} for the others."""
    metrics: dict[str, float] = {}
    if "histogram" in closed.pooled:
        counts = closed.pooled["histogram"]
        *values, fork = entropy.quantiles(counts, [*entropy.QUANTILES.values(), entropy.FORKING], memory.ceiling)
        metrics |= {f"entropy/{key}": value for key, value in zip(entropy.QUANTILES, values, strict=True)}
        if memory.fork is None and math.isfinite(fork):
            memory.fork = fork
        if memory.fork is not None:
            metrics["entropy/forking"] = entropy.share_above(counts, memory.fork, memory.ceiling)
        edges, drawn = entropy.coarse(counts, memory.ceiling, DRAWN)
        memory.histogram = {"step": step, "key": "entropy", "edges": edges, "counts": drawn}
    if "position" in closed.pooled:
        place = closed.pooled["position"]
        pairs = zip(place[: entropy.DECILES], place[entropy.DECILES :], strict=True)
        metrics |= {f"entropy/position/{i}": ratio(total, count) for i, (total, count) in enumerate(pairs)}
    if "outcome" in closed.pooled:
        outcome = closed.pooled["outcome"]
        for name, (total, tokens, rows) in {"right": outcome[:3], "wrong": outcome[3:]}.items():
            metrics |= {f"entropy/{name}": ratio(total, tokens), f"text/length_{name}": ratio(tokens, rows)}
    metrics |= {key: ratio(*sums) for key, sums in closed.pooled.items() if "/" in key}
    if "covariance" in closed.peaked:
        metrics["forces/covariance/max"] = closed.peaked["covariance"][0]
    if "sequences" in closed.pooled:
        metrics |= _laws(ratio(*closed.pooled["sequences"]), metrics, memory)
    return metrics


def _laws(level: float, metrics: dict[str, float], memory: Memory) -> dict[str, float]:
    """With one more generation, of mean entropy ``level``. Its covariances come with the window where nobody had scored it."""
    now = memory.newest
    pooled = measured(
        level, math.nan, *(metrics.get(f"forces/covariance/{key}", math.nan) for key in ("mean", "weighted"))
    )
    memory.add(Generation(*(b if a is None else a for a, b in zip(now, pooled, strict=True))))
    told = {f"learning/law/{key}": value for key, value in law_of_reward(memory.generations).items()}
    return told | {f"forces/covariance/{key}": value for key, value in theorems(memory.generations).items()}


def of_step(closed: Closed, memory: Memory, parts: Parts, world: int, generation: int) -> dict[str, float]:
    """What a monitored step measured."""
    pooled, tokens = closed.pooled, closed.tokens
    metrics: dict[str, float] = {}
    if "kl_old" in closed.signals:
        metrics["trust/kl_old"] = closed.signals["kl_old"]
    if "trust" in pooled:
        metrics |= {f"trust/{key}": ratio(total, tokens) for key, total in zip(NAMES, pooled["trust"], strict=False)}
        metrics |= {"trust/ratio_max": closed.peaked["ratio"][0], "trust/ratio_min": -closed.peaked["ratio"][1]}
    if "touched" in pooled:
        values = iter(pooled["touched"])
        for name in parts.touching:
            metrics[f"forces/{name}/touched_up"] = ratio(next(values), tokens)
            metrics[f"forces/{name}/touched_down"] = ratio(next(values), tokens)
    if "forces" not in pooled or not tokens:
        return metrics
    sizes, pushes = pooled["forces"][::2], [value / world for value in pooled["forces"][1::2]]
    for name, size, pushed in zip(parts.of_loss, sizes, pushes, strict=True):
        metrics |= {f"forces/{name}/share": ratio(size, sum(sizes)), f"forces/{name}/entropy": pushed}
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
            metrics["forces/predicted"] = FORECAST.change(memory.forecast)
        if not first:  # of the policy that generated nothing has changed yet
            metrics["forces/realised"] = realised
    return metrics


def ratio(total: float, count: float) -> float:
    """NaN, which is not logged, where there is nothing to divide by."""
    return total / count if count else math.nan
