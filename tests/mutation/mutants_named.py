"""Faults of the rewards that other trainers have by name: of length, repetition and form."""

from __future__ import annotations

from mutation import mutants
from mutation.mutants import Mutant

LENGTH = ("tests/unit/test_rl_rewards_length.py",)
FORM = ("tests/unit/test_reward_form.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = LENGTH) -> Mutant:
    return mutants.fault(name, file, old, new, tests)


OVERLONG, COSINE, REPEAT, GROUP = (
    f"rl/rewards/{name}" for name in ("overlong", "length_cosine", "repetition", "group_length")
)
TERMS = (
    fault("rewards the long", OVERLONG, "penalty = -(over", "penalty = (over"),
    fault("never stops falling", OVERLONG, "max=most_paid", "max=None"),
    fault("forgets its buffer", OVERLONG, "(most - self.buffer)", "most"),
    fault("takes the short for the long", COSINE, "self.right_long + (self.right_short - self.right_long)", "self.right_short + (self.right_long - self.right_short)"),
    fault("does not swap the wrong", COSINE, "self.wrong_long + (self.wrong_short - self.wrong_long)", "self.wrong_short + (self.wrong_long - self.wrong_short)"),
    fault("climbs again", COSINE, "share if self.reference else share.clamp(max=1)", "share"),
    fault("spares what exceeds", COSINE, "share >= 1\n", "share > 1\n"),
    fault("keeps what it replaces", COSINE, 'earned if self.combine == "replace" else rewards + earned', "rewards + earned"),
    fault("counts grams and not repeats", REPEAT, "1 - different.double()", "different.double()"),
    fault("reads padding", REPEAT, "valid.long().cumsum(1)", "torch.ones_like(ids).cumsum(1)"),
    fault("sees half of a gram", REPEAT, "while width < gram:", "while 2 * width < gram:"),
    fault("tells cases apart", REPEAT, "text.lower().split()", "text.split()"),
    fault("pays the wrong for being short", GROUP, "torch.where(hit, share, share.clamp(max=0))", "share"),
    fault("ranges over what nobody scored", GROUP, ".masked_fill(~scored, torch.nan)", ""),
    fault("ranges over its own rank", GROUP, "batch.groups, batch.reducer)", "batch.groups, __import__(\"entropostat.rl.reduce\", fromlist=[\"LOCAL\"]).LOCAL)"),
    fault("divides by nothing", GROUP, "torch.where(differ, 0.5 - place, 0.0)", "0.5 - place"),
    fault("takes a partial score for right", "rl/difficulty", "batch.judged >= 1", "batch.judged > 0"),
    fault("never asks the sum", "rl/difficulty", "torch.where(batch.judged.isnan(), summed, batch.judged >= 1)", "(batch.judged >= 1)"),
    fault("takes any verifier for the judge", "reward/scoring", "return [c.name for c in self.columns if c.name in able and not self.verifiers[c.verifier].formal] or able", "return able", ("tests/contract/test_rewards.py",)),
)  # fmt: skip

JUDGED = (
    fault("lets form judge", "reward/scoring", "if not self.verifiers[name].formal)", ")", FORM),
    fault("runs a pattern in the trainer", "reward/verifiers/format", "return self.regex is not None", "return False", FORM),
    fault("takes any order", "reward/tags", "if begins != sorted(begins):", "if False:", FORM),
    fault("takes a tag twice", "reward/tags", "!= [1] * len(bare)", "== [0] * len(bare)", FORM),
    fault("takes what stands behind", "reward/tags", "if behind.strip() or not line_breaks:", "if not line_breaks:", FORM),
    fault("ends anywhere", "reward/tags", "{re.escape(last)}$", "{re.escape(last)}", FORM),
    fault("counts a tag that stands twice", "reward/tags", "text.count(tag) == 1 for", "text.count(tag) >= 1 for", FORM),
    fault("forgets the delimiters", "reward/verifiers/trl", "{} if self.reasoning_delimiters is None else", "{} if True else", FORM),
    fault("scores without a reference", "reward/verifiers/trl", "if self.compares and example.answer is None:", "if False:", FORM),
    fault("trusts TRL in the trainer", "reward/verifiers/trl", "return True  # sympy", "return False  # sympy", FORM),
)  # fmt: skip
