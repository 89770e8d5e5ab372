"""Learning that has stopped or that goes for something else than what is wanted."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from entropostat.diagnose import advice
from entropostat.diagnose.cause import mover
from entropostat.diagnose.finding import Finding
from entropostat.diagnose.held_out import Evaluations, evaluations
from entropostat.diagnose.log import Log, Series
from entropostat.diagnose.reward_rules import constant_until
from entropostat.diagnose.scale import bounds, kept_of_best
from entropostat.diagnose.windows import at, confirmed, deviation, lasting, mean, recent, size_in_rows, span

ROWS, LEAST = 12, 12
"""Steps that are averaged, and rows at least."""
DEAD = 0.90
"""Share of groups whose completions all got one reward."""


def dead_groups(log: Log) -> Iterator[Finding]:
    if len(log.first("critic/value")):  # its advantages need no spread within a group
        return
    series = log.first("frac_reward_zero_std")
    if not len(series):
        none, every = (log.series(f"learning/solve_{key}").finite for key in ("none", "all"))
        if not len(none) or len(none) != len(every):
            return
        series = Series(none.steps, none.values + every.values)
    size = size_in_rows(series, ROWS, LEAST)
    average, spread = mean(series.values, size), deviation(series.values, size)
    with np.errstate(invalid="ignore"):
        ill = average - 1.0 * spread / math.sqrt(size) >= DEAD - 0.02
        ill = ill & (average >= DEAD)
    ill[: series.count(constant_until(log)) + size] = False  # that is said of the reward
    ill = confirmed(ill)
    if not ill.any():
        return
    steps, last = span(series, ill), int(np.flatnonzero(ill)[-1])
    state, told = _what_the_reward_was(log, float(series.steps[last]))
    yield Finding(
        "dead-groups",
        "warning",
        steps,
        f"{average[last]:.0%} of the groups have no spread of rewards (mean of {size} rows): no advantage, no gradient",
        told,
        advice.dead_groups(state),
    )


SOLVED, GONE = 0.5, 0.4
"""Level of the reward within its range; share of its best level that is left."""


def _what_the_reward_was(log: Log, step: float) -> tuple[str, str]:
    """(solved, never or lost; in words), by the rewards up to ``step``."""
    reward = log.first("reward")
    size = size_in_rows(reward, ROWS, LEAST)
    last = int(reward.count(step)) - 1
    if last < size - 1:
        return "never", "nothing in the log says whether the prompts are solved always or never"
    best, left, now = (values[last] for values in kept_of_best(reward, size))
    low, high = (edge[last] for edge in bounds(reward.values))
    if now - low > SOLVED * (high - low):
        return "solved", f"the prompts are solved every time (mean reward {now:.3g})"
    if left <= GONE and best - low >= 0.15 * (high - low):
        return "lost", f"the run could solve them and lost it: mean reward {now:.3g}, {best:.3g} at its best"
    return "never", f"the prompts are never solved (mean reward {now:.3g})"


LONGER = math.log(1.5)
GAIN = 0.10
"""Rise of the training reward that held-out should have followed, as a share of its range."""
FOLLOWS = 0.12
"""Share of that rise which a healthy held-out set shows at least."""
LOST, MORE = 0.04, 0.015
"""Fall of held-out pass@1 that is a gap; more by the square root of 2 ln n at the n-th evaluation: noise has had n chances."""
FIRST = 3
"""Rows that stand for the start."""
FEW, MANY = 20, 40
"""After so many evaluations two and three in a row must agree: noise has had more chances. On length two always must."""
REFERENCE, NOW = 3, 2
"""Evaluations that are averaged then and now."""


def _paired(log: Log, one: Evaluations) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """At each evaluation: training reward, log length, held-out pass@1. NaN where not yet known."""
    reward = log.first("reward")
    length = log.first("completions/mean_length", "completions/mean_terminated_length")
    steps = one.right.steps
    rewards = at(reward, recent(reward.values, ROWS), steps)
    lengths = at(length, recent(np.log(np.maximum(length.values, 1e-9)), ROWS), steps)
    # The evaluation at the start comes before the first row of training.
    for known, values in ((rewards, reward.values), (lengths, np.log(np.maximum(length.values, 1e-9)))):
        if len(values) >= FIRST and math.isnan(known[0]):
            known[0] = float(values[:FIRST].mean())
    return rewards, lengths, one.right.values


def foolery(log: Log) -> Iterator[Finding]:
    """The training reward rises and held-out does not: by longer completions (length-hacking), or otherwise (reward-gap)."""
    sets = [one for one in evaluations(log) if len(one.right) > NOW]
    if not sets or not len(log.first("reward")):
        return
    verdicts = [_judge(log, one) for one in sets]
    for rule in ("length-hacking", "reward-gap"):
        # One set that gets better is enough to say that something real is learned.
        steps = [fooled for verdict in verdicts if (fooled := verdict[rule]) is not None]
        if len(steps) < len(sets):
            continue
        first, last = max(fooled[0][0] for fooled in steps), min(fooled[0][1] for fooled in steps)
        where = (int(first), int(max(last, first)))
        yield Finding(
            rule,
            "warning",
            where,
            "; ".join(f"{one.name}: {fooled[1]}" for one, fooled in zip(sets, steps, strict=True)),
            mover(log, where, "down")
            if rule == "reward-gap"
            else "the reward pays for length, or the loss weighs long completions more",
            advice.length_hacking(log) if rule == "length-hacking" else advice.reward_gap(log),
        )


def _judge(log: Log, one: Evaluations) -> dict[str, tuple[tuple[float, float], str] | None]:
    rewards, lengths, right = _paired(log, one)
    reward = log.first("reward")
    least, most = (at(reward, edge, one.right.steps) for edge in bounds(reward.values))
    ranges = np.where(np.isfinite(most - least), most - least, 1.0)
    out: dict[str, tuple[tuple[float, float], str] | None] = {"length-hacking": None, "reward-gap": None}
    padded = apart = 0
    for i in range(NOW, len(right)):
        past = slice(0, max(i - NOW + 1, 1))
        if not np.isfinite(rewards[past]).any():
            continue
        # Against when the training reward was lowest: chosen without a look at the held-out set.
        low = int(np.nanargmin(rewards[past]))
        then = slice(max(low - 1, 0), min(max(low - 1, 0) + REFERENCE, i - NOW + 1))
        gained = float(rewards[i] - np.nanmean(rewards[then])) / ranges[i]
        moved = float(right[i - NOW + 1 : i + 1].mean() - right[then].mean())
        grown = float(lengths[i] - lengths[0]) if np.isfinite(lengths[[0, i]]).all() else 0.0
        told = f"training reward {gained:+.3f}, pass@1 {moved:+.3f}, length x{math.exp(grown):.2f} since step {int(one.right.steps[low])}"
        longer = grown >= LONGER and gained >= GAIN and moved < FOLLOWS * gained
        gap = gained >= GAIN and moved <= -LOST - MORE * math.sqrt(2 * math.log(i))
        padded, apart = (padded + 1 if longer else 0), (apart + 1 if gap and not longer else 0)
        again = 1 + (i >= FEW) + (i >= MANY)
        rule = "length-hacking" if padded >= max(again, 2) else "reward-gap" if apart >= again else None
        if rule is not None:
            step = float(one.right.steps[i])
            before = out[rule]
            out[rule] = ((before[0][0] if before else step, step), told)
    return out


SHARE, KEPT = 0.12, 0.4
"""A strategy that is still there: in so many completions, and at this share of what it was."""
SKILL, LEFT = 0.3, 0.5
"""It could do it this well, and has this share of that left."""


def incompetent(log: Log) -> Iterator[Finding]:
    for name in dict.fromkeys(key.split("/")[1] for key in log.keys if key.startswith("evaluate/")):
        for strategy in log.middles(f"evaluate/{name}/share/", ""):
            share = log.series(f"evaluate/{name}/share/{strategy}").finite
            skill = log.series(f"evaluate/{name}/accuracy/{strategy}").finite
            if len(skill) < NOW + 1 or len(share) < NOW + 1:
                continue
            now = mean(skill.values, NOW)
            # What is lost at once was there at the first evaluation only.
            then = max(float(skill.values[0]), float(skill.values[:NOW].mean()))
            kept = at(share, mean(share.values, NOW), skill.steps)
            began = float(share.values[:NOW].mean())
            with np.errstate(invalid="ignore"):
                ill = (now <= LEFT * then) & (kept >= max(SHARE, KEPT * began)) & (then >= SKILL)
            ill[: NOW + 1] = False
            ill[FEW:] &= lasting(ill, 2)[FEW:]
            if not ill.any():
                continue
            steps, last = span(skill, ill), int(np.flatnonzero(ill)[-1])
            yield Finding(
                "strategy-incompetent",
                "warning",
                steps,
                f"{name}: {strategy} is still used in {kept[last]:.0%} of the completions, and right in {now[last]:.0%} of them "
                f"({then:.0%} at the start)",
                "training kept the choice alive and erased the skill: no prompt of this stage rewards it",
                advice.incompetent(log),
                subject=f"{name}/{strategy}",
            )
