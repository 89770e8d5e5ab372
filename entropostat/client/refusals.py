"""What a loop cannot carry, by name and before it starts: read off what the terms declare that they need.

``gives`` are the batch fields that this loop has beyond those of every loop. A term whose fields are all there runs; any other is
refused in one line that says what it lacks.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch

from entropostat.client.sample import CARRIED
from entropostat.recipe.errors import nearest
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.rl.parts import Part
from entropostat.rl.signal_sums import rollout_signals, token_sums
from entropostat.rl.signals import ROLLOUT, RUN, WINDOW
from entropostat.rl.term import BatchTerm, Delegated, Penalty, Term, Weight

EVERY_LOOP = frozenset({"logps", "mask", "advantages", "old_logps", "rewards", "unshaped", "groups"})
"""Batch fields that need no promise: a loop that gives none of these trains nothing."""
DERIVED = frozenset({"uids", "lengths", "tokens", "clip"})
"""Batch fields that follow from those."""
LIVE = ("entropy", "sum_p2", "sum_p2_logp")
"""Batch fields that may be promised and come with each call, (T,) a sample, with gradient: they depend on the weights alone."""
IN_LOSS = frozenset(
    {"logps", "mask", "advantages", "old_logps", "sampler_logps", "ref_logps", "uids", "tokens", "clip"}
)
"""Batch fields that the loss phase has, beside those with gradient."""
PROMISED = tuple(sorted({*CARRIED, *LIVE} - EVERY_LOOP))
"""Batch fields that ``gives`` may name."""


def check_gives(gives: Iterable[str]) -> frozenset[str]:
    if isinstance(gives, str):
        raise ValueError(f"gives: must be a list of batch fields, such as [{gives!r}], not {gives!r}")  # noqa: TRY004
    names = frozenset(gives)
    for name in sorted(names - set(PROMISED)):
        hint = "every loop gives it; leave it out" if name in EVERY_LOOP | DERIVED else nearest(name, PROMISED)
        raise ValueError(f"gives: {name!r} is nothing that a loop can promise; {hint}")
    return names


def refusals(control: Control, gives: frozenset[str], passes: int, steps: int | None) -> Iterator[str]:
    """One line for everything that this loop cannot carry."""
    objective = control.template
    for slot, part in slotted(objective):
        yield from (f"objective.{slot}.{part.name}: {lack}" for lack in _lacks(part, gives, passes))
    if len(twice := objective.sampler_correctors) > 1:
        yield f"objective: {twice[0].name} and {twice[1].name} both carry the ratio of trainer to sampler; keep one of them"
    known = measured(objective, gives)
    metrics = {
        f"{part.name}/{metric}"
        for part in (*objective.weights, objective.loss, *objective.penalties)
        for metric in part.term.info.provides
    }
    for knob in control.knobs:
        for signal in sorted(set(knob.controller.signals) - known - metrics):
            why = "this loop does not measure it" if signal in {*WINDOW, *ROLLOUT} else nearest(signal, known | metrics)
            yield f"objective.{knob.path}: its controller reads {signal!r}, and there is none; {why}"
        if "progress" in knob.controller.signals and steps is None:
            yield f"objective.{knob.path}: its controller reads how much of training is done; give steps=, all of them"


def slotted(objective: Objective) -> Iterator[tuple[str, Part[Term]]]:
    for slot in ("rewards", "advantages", "weights", "penalties", "scalars", "data"):
        yield from ((slot, part) for part in getattr(objective, slot))
    yield "loss", objective.loss


def _lacks(part: Part[Term], gives: frozenset[str], passes: int) -> Iterator[str]:
    term = part.term
    if not isinstance(term, BatchTerm):
        yield "lacks a trainer: it acts on sampling, on prompts or on the optimizer, which here are the loop's own"
        return
    if isinstance(term, Delegated):
        yield "lacks TRL, which computes it; name a loss that is computed here, such as ppo_clip"
        return
    there = gives | EVERY_LOOP | DERIVED
    in_loss = part.needs - (there & IN_LOSS) - (gives & set(LIVE)) - _one_policy(gives)
    before = part.rollout_needs - (there & (CARRIED.keys() | EVERY_LOOP | DERIVED)) - _one_policy(gives)
    missing = in_loss | before
    if missing:
        possible = sorted(name for name in missing if name not in gives and _possible(name, name in before))
        hint = f"; where the loop has it, say gives={possible}" if set(possible) == missing else ""
        yield f"lacks {', '.join(sorted(missing))}, which it reads and this loop does not give{hint}"
    if isinstance(term, Penalty) and term.moves_reference:
        yield "lacks a trainer that moves its reference; keep the one that the loop scores with (reference: initial)"
    if isinstance(term, Weight) and term.corrects_sampler and "sampler_logps" not in gives:
        yield (
            "lacks sampler_logps beside old_logps: where one stands for both, there is nothing to correct; where the loop has "
            "both, say gives=['sampler_logps']"
        )
    if isinstance(term, Weight) and passes % term.passes:
        yield f"lacks passes: it shares the tokens out over {term.passes} passes over a generation, and this loop makes {passes}; give passes="


def _one_policy(gives: frozenset[str]) -> frozenset[str]:
    """Old log-probs stand for the sampler's where no others are promised."""
    return frozenset() if "sampler_logps" in gives else frozenset({"sampler_logps"})


def _possible(name: str, before: bool) -> bool:
    return name in CARRIED if before else name in LIVE or (name in CARRIED and name in IN_LOSS)


def measured(objective: Objective, gives: frozenset[str]) -> frozenset[str]:
    """Signals that this loop can measure, found by measuring one token that has what the loop gives."""
    names = (gives & {*LIVE, *CARRIED}) - {"pieces", "answers", "token_ids", "truncated", "planning"}
    one, row = torch.zeros(1, 1), torch.zeros(1)
    fields = {name: one for name in names} | {"rewards": row, "unshaped": row, "groups": row.long(), "old_logps": one}
    batch, found = TokenBatch(one, one + 1, **fields), {*RUN}  # type: ignore[arg-type]
    for signal in WINDOW:
        try:
            sums, _ = token_sums(batch, frozenset({signal}))
        except ValueError:  # a field that is not there
            continue
        if signal in sums or signal.startswith("ratio_"):
            found.add(signal)
    if objective.loss.term.holds != "nothing":
        found.add("clip_fraction")
    for signal in ROLLOUT:
        try:
            told = rollout_signals(batch, None, frozenset({signal}))
        except ValueError:
            continue
        if signal in told or (signal == "reward_velocity" and "reward" in told):
            found.add(signal)
    return frozenset(found)
