"""Ill runs, one function a pathology: healthy up to an onset, from ``ill_from`` on ill at the declared size (ranges.py)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from benchmarks.diagnose.loops import at_bound, swinging
from benchmarks.diagnose.ranges import (
    COLLAPSE,
    CRASH,
    DEAD,
    EXPLOSION,
    FADED,
    FOOLED,
    GAP,
    ILL_LENGTHS,
    LIFTED,
    LOST,
    MISMATCH,
    NONFINITE,
    ONSET,
    PADDED,
    RAMP,
    SLOW_ONSET,
    SLOW_RAMP,
    STALE,
    Range,
    Split,
    deadline,
    seed_of,
)
from benchmarks.diagnose.shapes import Array
from benchmarks.diagnose.terms import inert_clip_cov, inert_kl_cov, log_terms
from benchmarks.diagnose.world import Synthetic, World


def ramp(w: World, onset: Range = ONSET, length: Range = RAMP) -> Array:
    """(T,) 0 to 1, and notes when the end is reached."""
    begin, takes = w.draw(onset) * w.length, max(w.draw(length) * w.length, 3)
    w.well_until, w.ill_from = int(begin), int(begin + takes) + 1
    return w.rise(begin, takes)


def watched(w: World) -> None:
    """With held-out sets."""
    w.evaluate_every = w.evaluate_every or int(w.rng.integers(10, 21 if w.length < 1000 else 51))


def collapse(w: World) -> None:
    w.learn(w.rng.uniform(0.05, 0.3))
    down = ramp(w)
    w.entropy = w.start * w.rng.uniform(0.5, 1.0) ** w.rise(0, w.ill_from) * w.draw(COLLAPSE) ** down
    stop = int(w.ill_from)
    w.reward = np.minimum(np.where(w.t < stop, w.reward, w.reward[stop - 1]), 0.85)
    w.right = np.minimum(np.where(w.t < stop, w.right, w.right[stop - 1]), 0.6)
    peak = np.maximum(w.many[stop - 1], w.right[stop - 1] + 0.1)
    many = np.where(w.t < stop, np.minimum(w.many, peak), peak)
    w.many = np.clip(many - w.draw(LOST) * down, 0.02, 1)
    w.right = np.minimum(w.right, w.many)


def explosion(w: World) -> None:
    up = ramp(w)
    w.entropy = w.start * (w.position(w.draw(EXPLOSION)) / w.start) ** up
    left = 1 - w.draw(CRASH) * up
    w.reward, w.right, w.many = w.reward * left, w.right * left, w.many * left


def controller_saturated(w: World) -> None:
    at_bound(w, int(w.draw(ONSET) * w.length))


def controller_oscillating(w: World) -> None:
    swinging(w, int(w.draw(ONSET) * w.length))


def inert_term(w: World) -> None:
    w.ill_from = 1


def dead_groups(w: World) -> None:
    d = w.draw(DEAD)
    w.stand_still()
    w.evaluate_every = 0 if w.rng.random() < 0.5 else w.evaluate_every
    if w.rng.random() < 0.3:
        w.dead, w.ill_from, w.well_until = np.full(w.length, d), 1, 0
    else:
        w.dead = w.dead + (d - w.dead) * ramp(w)


def length_hacking(w: World) -> None:
    watched(w)
    w.stand_still()
    up = ramp(w, SLOW_ONSET, SLOW_RAMP)
    gain = w.draw(FOOLED)
    w.reward = np.minimum(w.reward, 0.95 - gain) + gain * up
    w.tokens = w.tokens * w.draw(PADDED) ** up
    loss = w.rng.uniform(0.0, 0.3)
    w.right, w.many = (np.clip(x - loss * up * x, 0.01, 1) for x in (w.right, w.many))


def reward_gap(w: World) -> None:
    watched(w)
    w.stand_still()
    up = ramp(w, SLOW_ONSET, SLOW_RAMP)
    gain, fall = w.draw(FOOLED), w.draw(GAP)
    w.reward = np.minimum(w.reward, 0.95 - gain) + gain * up
    w.right = np.maximum(w.right, fall + 0.05) - fall * up
    w.many = np.clip(np.maximum(w.many, w.right[0] + 0.05) - fall * up * 0.5, w.right, 1)


def sampler_mismatch(w: World) -> None:
    high = max(w.draw(MISMATCH), 5 * float(w.sampler.max()))
    w.sampler = w.sampler * (high / w.sampler) ** ramp(w)
    key = "trust/sampler_gap" if w.rng.random() < 0.5 else "sampling/sampling_logp_difference/mean"
    w.exact[key] = w.sampler * np.exp(0.2 * w.ar(0.3))


def non_finite(w: World) -> None:
    begin = int(w.draw(ONSET) * w.length)
    w.every = 1
    w.broken = (w.t >= begin) & (w.rng.random(w.length) < w.draw(NONFINITE))
    w.well_until, w.ill_from = begin - 1, begin


def strategy_incompetent(w: World) -> None:
    watched(w)
    w.stand_still()
    down = ramp(w, SLOW_ONSET, SLOW_RAMP)
    skill, share = w.rng.uniform(0.4, 0.9), w.rng.uniform(0.2, 0.6)
    w.held = {
        "share/working": np.full(w.length, share) * (1 - 0.2 * w.rng.random() * down),
        "accuracy/working": skill * (1 - (1 - w.draw(STALE)) * down),
        "share/blurting": np.full(w.length, 1 - share),
        "accuracy/blurting": np.full(w.length, w.rng.uniform(0.2, 0.9)),
    }


def wrong_tokens(w: World) -> None:
    w.full = True
    up = ramp(w)
    w.entropy = w.start * min(w.rng.uniform(0.8, 1.5), w.position(0.2) / w.start) ** up
    w.percentiles = {
        "p50": w.draw(LIFTED) ** up,
        "p10": w.draw(LIFTED) ** up,
        "p90": w.draw(FADED) ** up,
        "p99": w.rng.uniform(0.3, 0.8) ** up,
    }


PATHOLOGIES: dict[str, Callable[[World], None]] = {
    "collapse": collapse,
    "explosion": explosion,
    "controller-saturated": controller_saturated,
    "controller-oscillating": controller_oscillating,
    "inert-term": inert_term,
    "dead-groups": dead_groups,
    "length-hacking": length_hacking,
    "reward-gap": reward_gap,
    "sampler-mismatch": sampler_mismatch,
    "non-finite": non_finite,
    "strategy-incompetent": strategy_incompetent,
    "wrong-tokens": wrong_tokens,
}


def ill(kind: str, split: Split, index: int, trial: int = 0) -> Synthetic:
    """Run number ``index`` of a pathology, of 200 and 1,000 steps in turn."""
    length = ILL_LENGTHS[index % len(ILL_LENGTHS)]
    world = World(split, seed_of(split, kind, index, trial), length)
    PATHOLOGIES[kind](world)
    log_terms(world)
    if kind == "inert-term":  # last, or a working term of that name would take its place
        (inert_kl_cov, inert_clip_cov)[index // 2 % 2](world)
    known = world.vocabulary if kind == "explosion" or world.rng.random() < 0.7 else None
    last = world.ill_from + deadline(kind, world.every, world.evaluate_every)
    return Synthetic(kind, world.rows(), known, world.ill_from, world.well_until, min(last, length))
