"""The running sums behind vocab.py, and the gradient of every statistic with respect to a tile of logits.

x is z / temperature throughout, m its running maximum, and the sums run over exp(x - m): they cannot overflow, and a term
of relative size 1 is always among them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.comparison import Comparison
from entropostat.rl.truncation import Kept, among_kept, merge_largest, min_p, nucleus
from entropostat.rl.vocab_tiles import LIMIT, Head, in_tile

BLOCK = 32
"""Rows of a tile whose squares are formed at a time, so that they need no third tile."""
CONSTANT = ("min_p_logp", "min_p_ids", "min_p_probs")
"""What min-p keeps: no gradient."""
OUTPUTS = ("logp", "logit", "entropy", "sum_p2", "sum_p2_logp", "max_logp")


@dataclass(frozen=True)
class Wanted:
    """What to compute. Each output costs a little; temperatures and truncations cost most."""

    outputs: tuple[str, ...] = ("logp", "entropy")
    temperatures: tuple[float, ...] = ()
    min_p: float | None = None
    top_p: float | None = None
    top_k: int = 64
    """Largest entries kept for min_p and top_p."""
    absolute: bool = False
    """min_p is a probability, not a share of the largest one."""
    kept: bool = False
    """Also which tokens min_p keeps, and how likely they are among themselves."""
    soft: bool = False
    """Also the mean log p under distributions that the caller brings along."""
    crossing: bool = True
    """Whether the nucleus holds the token that takes its mass beyond top_p."""
    comparisons: tuple[Comparison, ...] = ()
    """Divergences from the teacher: a pass of their own, over both models (vocab_teacher.py)."""

    def __post_init__(self) -> None:
        for name in self.outputs:
            if name not in OUTPUTS:
                raise ValueError(f"vocabulary statistics: no output {name!r}; known: {', '.join(OUTPUTS)}")
        if any(t <= 0 for t in self.temperatures):
            raise ValueError(f"vocabulary statistics: temperatures {self.temperatures} must be > 0")
        for key, value in (("min_p", self.min_p), ("top_p", self.top_p)):
            if value is not None and not 0 < value <= 1:
                raise ValueError(f"vocabulary statistics: {key} {value} must be in (0, 1]")
        if self.top_k < 1:
            raise ValueError(f"vocabulary statistics: top_k {self.top_k} must be at least 1")

    @property
    def any_token(self) -> bool:
        """Whether every token is looked at; soft labels have tokens of their own."""
        return bool(self.outputs or self.temperatures) or self.largest

    @property
    def largest(self) -> bool:
        return self.min_p is not None or self.top_p is not None

    @classmethod
    def merged(cls, parts: Iterable[Wanted]) -> Wanted:
        """Everything that any of ``parts`` asks for. Raises ValueError if two of them truncate differently."""
        parts = tuple(parts)
        cuts: dict[str, float | None] = {}
        for key in ("min_p", "top_p"):
            values = sorted({value for wanted in parts if (value := getattr(wanted, key)) is not None})
            if len(values) > 1:
                raise ValueError(f"two terms ask for the vocabulary at {key} {values[0]:g} and {values[1]:g}: use one")
            cuts[key] = values[0] if values else None
        crossing = {part.crossing for part in parts if part.top_p is not None}
        if len(crossing) > 1:
            raise ValueError("two terms ask for a nucleus with and without the token that crosses top_p: use one")
        cutting = [part for part in parts if part.min_p is not None]
        if len({part.absolute for part in cutting}) > 1:
            raise ValueError("two terms ask for min_p, one of them as a fixed probability: use one")
        if sum(part.soft for part in parts) > 1:
            raise ValueError("two terms bring soft labels for the vocabulary: use one")
        return cls(
            outputs=tuple(name for name in OUTPUTS if any(name in part.outputs for part in parts)),
            temperatures=tuple(sorted({t for part in parts for t in part.temperatures})),
            top_k=max((part.top_k for part in parts if part.largest), default=64),
            absolute=any(part.absolute for part in cutting),
            kept=any(part.kept for part in cutting),
            soft=any(part.soft for part in parts),
            crossing=False not in crossing,
            comparisons=tuple({c.key: c for part in parts for c in part.comparisons}.values()),
            **cuts,
        )


Parts = dict[str, Tensor]
"""Named (M,) tensors; ``lse`` is (K, M), ``best`` and its ``ids`` are (M, top_k)."""


def start(hidden: Tensor, labels: Tensor, wanted: Wanted, dtype: torch.dtype) -> Parts:
    zeros = torch.zeros(hidden.shape[0], dtype=dtype, device=hidden.device)
    sums = {name: zeros.clone() for name in ("x", "s", "xs", "s2", "xs2")}
    sums |= {"m": zeros - LIMIT, "labels": labels, "top": torch.zeros_like(labels)}
    sums["lse"] = zeros.repeat(len(wanted.temperatures), 1)
    if wanted.largest:
        sums["best"] = (zeros - 2 * LIMIT).unsqueeze(1).repeat(1, wanted.top_k)
        if wanted.kept:
            sums["ids"] = torch.zeros_like(sums["best"], dtype=torch.long)
    return sums


def fold(x: Tensor, part: Parts, columns: slice, wanted: Wanted, head: Head, spare: Tensor, place_of_top: bool) -> None:
    """Add one tile to the running sums; the tile is used up."""
    local, inside = in_tile(part["labels"], columns)
    part["x"].copy_(torch.where(inside[:, 0], x.gather(1, local)[:, 0], part["x"]))
    if "best" in part:
        best, ids = merge_largest(part["best"], x, part.get("ids"), columns.start)
        part["best"].copy_(best)
        if ids is not None:
            part["ids"].copy_(ids)
    old = part["m"].clone()
    if place_of_top:
        peak, place = x.max(1)
        part["top"].copy_(torch.where(peak > old, place + columns.start, part["top"]))
    else:
        peak = x.amax(1)
    m = torch.maximum(old, peak)
    part["m"].copy_(m)
    x.sub_(m.unsqueeze(1))
    e, step = spare[: x.numel()].view(x.shape), old - m
    for total, t in zip(part["lse"], wanted.temperatures, strict=True):
        rate = head.temperature / t
        total.mul_((step * rate).exp()).add_(torch.mul(x, rate, out=e).exp_().sum(1))
    shrink = step.exp()
    s, xs, s2, xs2 = (part[name] for name in ("s", "xs", "s2", "xs2"))
    torch.exp(x, out=e)
    # The sums that carry a factor (x - m) move with m: they need the plain sums from before this tile.
    if "sum_p2_logp" in wanted.outputs:
        xs2.add_(step * s2).mul_(shrink.square())
    if "entropy" in wanted.outputs:
        xs.add_(step * s).mul_(shrink)
    s.mul_(shrink).add_(e.sum(1))
    if {"sum_p2", "sum_p2_logp"} & set(wanted.outputs):
        s2.mul_(shrink.square()).add_(torch.linalg.vector_norm(e, dim=1).square())
    if "entropy" in wanted.outputs or "sum_p2_logp" in wanted.outputs:
        x.mul_(e)
        xs.add_(x.sum(1))
    if "sum_p2_logp" in wanted.outputs:
        xs2.add_(x.mul_(e).sum(1))


def finish(sums: Parts, wanted: Wanted, head: Head, vocabulary: int) -> tuple[Parts, tuple[Tensor | None, ...]]:
    """What the backward pass needs, and the results in the order of VocabStats."""
    log_s, s = sums["s"].log(), sums["s"]
    log_z = sums["m"] + log_s
    sum_p2 = sums["s2"] / s.square()
    all_ = {
        "logp": sums["x"] - sums["m"] - log_s,
        "logit": sums["x"] * head.temperature,
        "entropy": log_s - sums["xs"] / s,
        "sum_p2": sum_p2,
        "sum_p2_logp": sums["xs2"] / s.square() - log_s * sum_p2,
        "max_logp": -log_s,
    }
    rates = sums["m"].new_tensor([head.temperature / t for t in wanted.temperatures]).unsqueeze(1)
    lse = sums["lse"].log() + rates * sums["m"]
    saved = {"labels": sums["labels"], "top": sums["top"], "log_z": log_z, "lse": lse}
    saved |= {name: all_[name] for name in ("entropy", "sum_p2", "sum_p2_logp") if name in wanted.outputs}
    saved["sum_p2"] = sum_p2
    results: list[Tensor | None] = [all_[name] if name in wanted.outputs else None for name in OUTPUTS]
    results += lse.clone().unbind(0)
    likely = None if wanted.min_p is None else min_p(sums["best"], log_z, wanted.min_p, vocabulary, wanted.absolute)
    core = None if wanted.top_p is None else nucleus(sums["best"], log_z, wanted.top_p, vocabulary, wanted.crossing)
    for name, kept in (("min_p", likely), ("nucleus", core)):
        results += [None, None] if kept is None else [kept.value, kept.exact]
        if kept is not None:
            saved |= {f"{name} edge": kept.edge, f"{name} mass": kept.mass, f"{name} value": kept.value.clone()}
    results += [None] * 3 if likely is None else _constants(sums, likely, log_z, vocabulary)
    return {name: x.clone() for name, x in saved.items()}, tuple(results)


def _constants(sums: Parts, kept: Kept, log_z: Tensor, vocabulary: int) -> list[Tensor | None]:
    """min_p_logp, min_p_ids and min_p_probs: constants to the gradient, so ``slope`` knows nothing of them."""
    logp = among_kept(sums["x"], kept, log_z, vocabulary)
    if "ids" not in sums:
        return [logp, None, None]
    tiny = torch.finfo(kept.p.dtype).tiny
    return [logp, sums["ids"].int(), kept.p / kept.mass.clamp(min=tiny).unsqueeze(1)]


def slope(
    x: Tensor, part: Parts, grads: Sequence[Tensor | None], columns: slice, wanted: Wanted, head: Head, spare: Tensor
) -> Tensor:
    """Gradient with respect to one tile of the projection, written over the tile.

    All but the one-hot and masked parts are p (a + b log p + c p + d p log p), with one a, b, c, d per token.
    """
    logp, logit, entropy, sum_p2, sum_p2_logp, max_logp, *more = grads
    *lse, mass, _, inner, _ = more
    by_head = head.slope(x)
    extra: Tensor | None = None
    for g, log_total, t in zip(lse, part["lse"], wanted.temperatures, strict=True):
        if g is not None:
            rate = head.temperature / t
            extra = _plus(extra, (x * rate).sub_(log_total.unsqueeze(1)).exp_().mul_((g * rate).unsqueeze(1)))
    kept = None if mass is None else x >= part["min_p edge"].unsqueeze(1)
    core = None if inner is None else x >= part["nucleus edge"].unsqueeze(1)

    a = torch.zeros_like(part["log_z"])
    for g, value in (
        (logp, 1.0),
        (max_logp, 1.0),
        (entropy, part.get("entropy")),
        (sum_p2, 2 * part["sum_p2"]),
        (mass, part.get("min_p mass")),
    ):
        if g is not None and value is not None:
            a -= g * value
    if sum_p2_logp is not None:
        a -= sum_p2_logp * (2 * part["sum_p2_logp"] + part["sum_p2"])
    b = torch.zeros_like(a) if entropy is None else -entropy

    x.sub_(part["log_z"].unsqueeze(1))
    p = torch.exp(x, out=spare[: x.numel()].view(x.shape))
    if core is not None and inner is not None:
        p_core, log_core = part["nucleus mass"], part["nucleus mass"].log()
        centred = x + (part["nucleus value"] - log_core).unsqueeze(1)
        extra = _plus(extra, torch.where(core, centred.mul_(p).mul_((-inner / p_core).unsqueeze(1)), 0.0))
    if kept is not None and mass is not None:
        extra = _plus(extra, torch.where(kept, p * mass.unsqueeze(1), 0.0))
    if sum_p2 is not None or sum_p2_logp is not None:
        d = torch.zeros_like(a) if sum_p2_logp is None else 2 * sum_p2_logp
        c = d / 2 if sum_p2 is None else d / 2 + 2 * sum_p2
        for first in range(0, x.shape[0], BLOCK):
            i = slice(first, first + BLOCK)
            square = (x[i] * d[i].unsqueeze(1)).add_(c[i].unsqueeze(1)).mul_(p[i])
            x[i].mul_(b[i].unsqueeze(1)).add_(a[i].unsqueeze(1)).add_(square)
    elif entropy is None:
        x.copy_(a.unsqueeze(1).expand_as(x))
    else:
        x.mul_(b.unsqueeze(1)).add_(a.unsqueeze(1))
    x.mul_(p)
    if extra is not None:
        x.add_(extra)
    for g, index, factor in ((logp, "labels", 1.0), (logit, "labels", head.temperature), (max_logp, "top", 1.0)):
        if g is not None:
            local, inside = in_tile(part[index], columns)
            x.scatter_add_(1, local, torch.where(inside[:, 0], g * factor, 0.0).unsqueeze(1))
    return x.mul_(by_head)


def _plus(total: Tensor | None, tile: Tensor) -> Tensor:
    """One tile for all additions, however many there are."""
    return tile if total is None else total.add_(tile)
