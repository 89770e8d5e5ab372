"""Faults of reading other trainers' logs, and of what diagnose says of them."""

from __future__ import annotations

from mutation.mutants import Mutant
from mutation.mutants_rewards import fault

READ = ("tests/unit/test_readers_foreign.py",)
LOSSES = ("tests/unit/test_diagnose_losses.py",)
RULES = ("tests/unit/test_diagnose_strangers.py",)

STRANGERS: tuple[Mutant, ...] = (
    fault(
        "keeps colours",
        "entropostat/readers/console",
        'COLOUR.sub("", line.decode("utf-8", "replace"))',
        'line.decode("utf-8", "replace")',
        READ,
    ),
    fault(
        "has no wrapped numbers",
        "entropostat/readers/console",
        "WRAPPED.fullmatch(value.strip())",
        "LEADING.fullmatch(value.strip())",
        READ,
    ),
    fault(
        "takes the KL to the old policy",
        "entropostat/readers/names",
        '"actor/kl_loss": "kl",',
        '"actor/kl_loss": "kl",\n        "actor/ppo_kl": "kl",',
        READ,
    ),
    fault(
        "does not know verl's reward", "entropostat/readers/names", '        "critic/score/mean": "reward",\n', "", READ
    ),
    fault(
        "drops tensors of one value",
        "entropostat/readers/tensorboard",
        "number = _tensor(value)",
        "number = None",
        READ,
    ),
    fault(
        "counts windows in rows",
        "entropostat/diagnose/windows",
        "round(steps / max(float(np.median(head)), 1e-9))",
        "steps",
        RULES,
    ),
    fault(
        "measures rewards from 0",
        "entropostat/diagnose/scale",
        "low = np.where(unit, 0.0, low)",
        "low = np.zeros_like(low)",
        RULES,
    ),
    fault(
        "tells what followed first",
        "entropostat/diagnose/story",
        "key=lambda one: (ranks.get(one.rule, len(ranks)), one.steps)",
        "key=lambda one: one.steps[::-1]",
        RULES,
    ),
    fault(
        "takes an ebb for a loss",
        "entropostat/diagnose/loss_rules",
        "gone = had & clear & ((left <= LEFT)",
        "gone = had & ((left <= 1)",
        RULES,
    ),
    fault(
        "forgives a gradient",
        "entropostat/diagnose/blow_up_rules",
        "bad = np.abs(series.values) >= max(least, times * usual)",
        "bad = np.abs(series.values) < 0",
        RULES,
    ),
    fault(
        "waits for nothing",
        "entropostat/diagnose/loss_rules",
        "confirmed(lasting(gone & (left <= ALL), size), TENTH)",
        "lasting(gone & (left <= ALL), size)",
        LOSSES,
    ),
    fault("takes scatter for a loss", "entropostat/diagnose/loss_rules", "FELL = 2.0", "FELL = 1.0", LOSSES),
    fault(
        "judges by five rows",
        "entropostat/diagnose/entropy_rules",
        "BEFORE, AFTER, HOLDS = 5, 10, 5",
        "BEFORE, AFTER, HOLDS = 5, 5, 3",
        LOSSES,
    ),
    fault(
        "takes other prompts for a loss",
        "entropostat/diagnose/loss_rules",
        "ONE_ROW = 3, 0.8",
        "ONE_ROW = 3, 1.8",
        LOSSES,
    ),
    fault(
        "asks lengths for nothing",
        "entropostat/diagnose/loss_rules",
        "(other | alone & ~_at_once",
        "((other | alone) & ~_at_once",
        LOSSES,
    ),
    fault(
        "asks for scatter in any case", "entropostat/diagnose/loss_rules", "FELL_TOO = 1.0", "FELL_TOO = 2.0", LOSSES
    ),
    fault("begins on the way up", "entropostat/diagnose/entropy_rules", ", first_of_a_rise(series))", ")", LOSSES),
    fault(
        "begins at any low row",
        "entropostat/diagnose/entropy_rules",
        "(np.diff(first) > 0).all()",
        "first[0] > 0",
        LOSSES,
    ),
    fault(
        "looks a thousand times",
        "entropostat/diagnose/entropy_rules",
        "2 * np.log(looks), CLEAR**2",
        "0 * looks, CLEAR**2",
        LOSSES,
    ),
    fault("lets no learning begin", "entropostat/diagnose/entropy_rules", "STILL = 12", "STILL = 5", LOSSES),
    fault("has no bottom", "entropostat/diagnose/loss_rules", "FAR = 5.0", "FAR = 500.0", LOSSES),
    fault("takes a burst for a loss", "entropostat/diagnose/loss_rules", "OUTLASTS = 2", "OUTLASTS = 0", LOSSES),
    fault("takes a burst for an explosion", "entropostat/diagnose/entropy_rules", "LEFT_IN = 7", "LEFT_IN = 5", LOSSES),
)
