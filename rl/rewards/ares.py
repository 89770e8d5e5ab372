"""ARES: long uncertain stretches cost on easy prompts and pay on hard ones.

    n = windows of the completion whose mean entropy reaches the threshold;   delta = n - target;   m = max(1, frac max(target, 1))
    r = r + coef s,   cap = alpha scale,   h(x) = huber(x; kappa) / (m + kappa),   sig(x) = 1 / (1 + exp(-x / T))

    right   easy     s = -min(cap, cap h(max(delta - m, 0)))
            medium   s = -min(cap, cap h(max(|delta| - m, 0)))
            hard     s = cap sig(delta + m) where delta >= -m, else -min(cap, cap h(-delta - m) / 2)
    wrong            s = cap sig(max(delta - m, 0)) times .6, .8, 1 for easy, medium, hard

Adaptive reasoning by difficulty-aware token-level entropy, arXiv:2510.08457, whose optimiser it calls AEPO (not to be confused
with ``penalties/aepo``, arbitrary entropy policy optimization, or with agentic AEPO). The mean entropy is that of tokens t to
t + window - 1. A prompt's bucket is that of the share of its completions that are right (difficulty.py). Per bucket and
generation: target = round(mean n over its prompts), and alpha moves by rate times the mean's distance from it, upwards where the
mean is larger on easy and medium prompts and where it is smaller on hard ones; a bucket without a prompt keeps its own. The
threshold is the median over completions of each one's 95 % quantile of window means, averaged over generations.

Paper and code: the released recipe computes the reward before the buckets exist, so that it trains with the easy profile, target
0 and the first alpha for everything; here the buckets come first. Its windows begin after the token, from a list of 174 words,
and so they do with ``reference: true`` and your own list as ``triggers``; by default every token begins one, as the abstract has
it (we know the paper by its abstract and its code alone). Its entropies are those of the ten likeliest tokens and a rest, its
trigger the likeliest token and not the sampled one: ours are of the whole distribution, and of what was sampled. Its threshold
begins at -1, where every window counts; ours with the first generation. As sig(0) is a half, every wrong answer earns at least
.15, .2 or .3 at the first alpha: ``center_sigmoid: true`` takes 2 sig - 1. Since a target is the rounded mean, alpha only
walks by what rounding leaves. The paper's KL control is the penalty ``kl_bucket`` with a controller ``log_beta`` for each bucket.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from entropostat.rl.batch import Output, TokenBatch
from entropostat.rl.difficulty import BUCKETS, bucket, right
from entropostat.rl.info import State
from entropostat.rl.measured import Mean
from entropostat.rl.needs import unless
from entropostat.rl.reduce import all_groups, quantile
from entropostat.rl.registry import REWARDS, option
from entropostat.rl.sequence import row_quantile
from entropostat.rl.term import Reward
from entropostat.rl.windows import window_entropy

FRACTION, KAPPA, SOFT, SCALE, WRONG = (
    (0.15, 0.25, 0.35),
    (2.0, 3.0, 4.0),
    (2.0, 2.5, 3.0),
    (1.0, 1.0, 1.2),
    (0.6, 0.8, 1.0),
)
"""Of the easy, medium and hard profile: margin, huber's kappa, the sigmoid's T, what the cap is scaled by, and the wrong answers'."""
MARKS = "Ġ▁Ċ"
"""What tokenizers write for a space or a new line."""


@REWARDS.register(
    "ares",
    paper="arXiv:2510.08457",
    rollout_needs=("old_entropy", "unshaped", unless(triggers=None).needs("pieces")),
    clock="rollout",
    reference="shawn0728/ARES @146620e examples/reward_function/aepo.py, ray_trainer.py",
    provides={
        "windows": "Mean number of uncertain windows of a completion.",
        "threshold": "Mean entropy from which a window is uncertain, nats.",
        "shaping": "Mean reward that is added.",
        **{name: f"Share of the completions whose prompt is {name}." for name in BUCKETS},
        **{f"alpha_{name}": f"Size of what {name} prompts are paid." for name in BUCKETS},
        **{f"target_{name}": f"Uncertain windows that {name} prompts are held to." for name in BUCKETS},
    },
)
@dataclass(frozen=True)
class ARES(Reward):
    """Less hesitation on easy prompts, more exploration on hard ones, by counting stretches of high entropy.

    Added to the reward so far; also a group of equal rewards gets a direction by it. The first target of a bucket is that of
    the first generation that has such a prompt. Inert at ``coef: 0``.
    """

    coef: float = option(1.0, low=0.0, doc="size of what is added (paper: 1)")
    window: int = option(4, low=1, doc="tokens of a window")
    triggers: list[str] | None = option(None, doc="words whose tokens alone begin a window; null: every token does")  # noqa: RUF009
    tail: float = option(0.95, low=0.0, high=1.0, fixed=True, doc="quantile of a completion's window means")
    decay: float = option(
        0.99, low=0.0, below=1.0, fixed=True, doc="what remains of the threshold from one generation to the next"
    )
    alpha: float = option(0.5, low=0.0, high=2.0, fixed=True, doc="first alpha of every bucket")
    alpha_high: float = option(2.0, above=0.0, fixed=True, doc="largest alpha")
    rate: float = option(0.05, low=0.0, fixed=True, doc="of the change of alpha")
    share: float = option(1.0, low=0.0, fixed=True, doc="target over the mean of its bucket")
    center_sigmoid: bool = option(False, doc="2 sig - 1: nothing for a wrong answer of few windows")
    success: float = option(0.5, fixed=True, doc="a completion is right where its verifiers gave more than this")
    reference: bool = option(False, doc="windows begin after the token, and all count at first")

    def remember(self, batch: TokenBatch) -> State:
        means, whole = self._windows(batch)
        memory = self._threshold(batch, means, whole)
        rights = right(batch, self.success).double().masked_fill(batch.require("unshaped").isnan(), torch.nan)
        counts = self._count(means, whole, memory).double()
        matrix = all_groups(torch.stack([rights, counts], 1), batch.groups, batch.reducer).matrix
        return self._adapted(memory, matrix[..., 0], matrix[..., 1])

    def __call__(self, batch: TokenBatch) -> Output:
        memory = batch.memory or self.remember(batch)
        rewards, scored = batch.require("rewards"), ~batch.require("unshaped").isnan()
        hit = right(batch, self.success)
        groups = all_groups(hit.double().masked_fill(~scored, torch.nan), batch.groups, batch.reducer)
        level = bucket(groups.matrix)[groups.row][groups.mine]
        counts = self._count(*self._windows(batch), memory).to(rewards.dtype)
        shaping = self._shaping(counts, hit, level.clamp(min=0), memory)
        told = {"threshold": memory.get("threshold", math.nan)}
        told |= {key: memory.get(key, math.nan) for name in BUCKETS for key in (f"alpha_{name}", f"target_{name}")}
        shares = {name: Mean.over((level == i).to(rewards.dtype), scored) for i, name in enumerate(BUCKETS)}
        metrics = {key: counts.new_tensor(value) for key, value in told.items()} | shares
        metrics |= {"windows": Mean.over(counts, torch.ones_like(scored)), "shaping": Mean.over(shaping, scored)}
        return rewards + self.coef * shaping, metrics

    def _windows(self, batch: TokenBatch) -> tuple[Tensor, Tensor]:
        """(B, T) mean entropy of the window of each token, and (B, T) bool where there is one that counts."""
        means, whole = window_entropy(batch, self.window, 1 if self.reference else 0)
        if self.triggers is None:
            return means, whole
        if batch.pieces is None:
            raise ValueError("ares reads batch.pieces, and nothing filled it")
        wanted, begins = {word.lower() for word in self.triggers}, torch.zeros(whole.shape, dtype=torch.bool)
        for row, pieces in enumerate(batch.pieces):
            hits = [piece.lstrip(MARKS).strip().lower() in wanted for piece in pieces]
            begins[row, : len(hits)] = torch.tensor(hits, dtype=torch.bool)
        return means, whole & begins.to(whole.device)

    def _threshold(self, batch: TokenBatch, means: Tensor, whole: Tensor) -> State:
        """The memory with this generation in its threshold."""
        memory = dict(batch.memory)
        if "threshold" not in memory and self.reference:
            memory["threshold"] = -1.0
        # Of all windows, wherever the words stand that begin one: a quantile of few would be their largest.
        every, there = window_entropy(batch, self.window) if self.triggers is not None else (means, whole)
        tails = row_quantile(every.double(), self.tail, batch.set(mask=there)).squeeze(1)[there.any(1)]
        tails = batch.reducer.gather(tails)
        if tails.numel():
            newest = float(quantile(tails, 0.5))
            before = memory.get("threshold", newest)
            memory["threshold"] = self.decay * before + (1 - self.decay) * newest
        return memory

    def _count(self, means: Tensor, whole: Tensor, memory: Mapping[str, float]) -> Tensor:
        """(B,) uncertain windows; none where no completion has ever had a window."""
        return (whole & (means >= memory.get("threshold", math.inf))).sum(1)

    def _adapted(self, memory: State, rights: Tensor, counts: Tensor) -> State:
        """The memory with the alphas and targets after a generation, of (groups, G) right and windows; NaN where there is none."""
        level, memory = bucket(rights), dict(memory)
        of_prompt = counts.masked_fill(rights.isnan(), torch.nan).nanmean(1)
        for i, name in enumerate(BUCKETS):
            alpha = memory.setdefault(f"alpha_{name}", min(self.alpha, self.alpha_high))
            if not bool((level == i).any()):
                continue
            mean = float(of_prompt[level == i].mean())
            target = float(round(self.share * mean))
            away = target - mean if name == "hard" else mean - target
            memory[f"target_{name}"] = target
            memory[f"alpha_{name}"] = min(max(alpha + self.rate * away, 0.0), self.alpha_high)
        return memory

    def _shaping(self, counts: Tensor, hit: Tensor, level: Tensor, memory: Mapping[str, float]) -> Tensor:
        """(B,) s."""

        def own(values: tuple[float, ...]) -> Tensor:
            return counts.new_tensor(values)[level]

        target = own(tuple(memory.get(f"target_{name}", 0.0) for name in BUCKETS))
        cap = own(tuple(memory.get(f"alpha_{name}", self.alpha) for name in BUCKETS)) * own(SCALE)
        kappa, delta = own(KAPPA), counts - target
        margin = (own(FRACTION) * target.clamp(min=1)).clamp(min=1)

        def fall(x: Tensor, size: float = 1.0) -> Tensor:
            x = x.clamp(min=0)
            huber = torch.where(x <= kappa, x * x / (2 * kappa), x - kappa / 2)
            return -torch.minimum(cap, size * huber / (margin + kappa) * cap)

        def rise(x: Tensor) -> Tensor:
            s = torch.sigmoid(x / own(SOFT))
            return cap * (2 * s - 1 if self.center_sigmoid else s)

        hard = torch.where(delta >= -margin, rise(delta + margin), fall(-delta - margin, 0.5))
        correct = torch.where(level == 0, fall(delta - margin), fall(delta.abs() - margin))
        correct = torch.where(level == 2, hard, correct)
        return torch.where(hit, correct, own(WRONG) * rise((delta - margin).clamp(min=0)))
