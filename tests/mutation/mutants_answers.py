"""Faults of how answers are found and read, of the first look at a verifier's scores, and of what diagnose says of rewards."""

from __future__ import annotations

from mutation.mutants import Mutant
from mutation.mutants_rewards import fault

ANSWERS = ("tests/unit/test_reward_answers.py",)
NUMBERS = ("tests/unit/test_reward_numbers.py",)
MATH = ("tests/unit/test_reward_math.py",)
FIRST = ("tests/unit/test_first_scores.py",)
SAID = (
    "tests/unit/test_diagnose.py",
    "tests/unit/test_diagnose_rewards.py",
)
MODULES = ("tests/unit/test_reward_modules.py",)

REWARDS: tuple[Mutant, ...] = (
    fault("thinks aloud", "reward/answers", 'return after.partition("<think>")[0]', "return after", ANSWERS),
    fault("needs no end of thinking", "reward/answers", 'if thinking == "required" and not tag:', "if False:", ANSWERS),
    fault("takes the first box", "entropostat/data/boxes", "boxes[-1][1:3]", "boxes[0][1:3]", ANSWERS),
    fault("joins all boxes", "entropostat/data/boxes", "not BETWEEN.fullmatch(words)", "False", ANSWERS),
    fault("takes half a box", "entropostat/data/boxes", "text[: min(_boxes(text)[1], default=None)]", "text", MATH),
    fault("takes a bracket's brace", "entropostat/data/boxes", r"|\\[{}]|[{}]", r"|[{}]", ANSWERS),
    fault("reads what goes on to the left", "reward/numbers", "if sign is None or", "if", NUMBERS),
    fault("reads what goes on to the right", "reward/numbers", "percent is None or", "", NUMBERS),
    fault("forgets the sign", "reward/numbers", "Number(sign * value, percent)", "Number(value, percent)", NUMBERS),
    fault("turns a fraction over", "reward/numbers", "top / bottom if bottom", "bottom / top if bottom", NUMBERS),
    fault("has no mixed numbers", "reward/numbers", "sum(figures[:-2]) + (", "(", NUMBERS),
    fault("does not know percent", "reward/numbers", "if self.percent != wanted.percent:", "if False:", NUMBERS),
    fault("reads ordinals", "reward/numbers", " and not ORDINAL.fullmatch(w[0])", "", NUMBERS),
    fault("takes any of several", "reward/numbers", "if first and first[1].end() + first[0] > starts[-1] else None", "if first else None", NUMBERS),
    fault("drops Unicode's minus", "reward/number_spelling", r'"\u2212\u2010', r'"\u2010', NUMBERS),
    fault("drops units' powers", "reward/number_spelling", "return word if word in UNITS", "return word if False", NUMBERS),
    fault("takes tuples apart", "reward/number_context", "or _in_a_tuple(line)", "", NUMBERS),
    fault("searches for parts of what it cannot parse", "reward/verifiers/math_verify", "[LatexExtractionConfig(boxed_match_priority=0)]", "[LatexExtractionConfig(boxed_match_priority=0), ExprExtractionConfig()]", MATH),
    fault("puts nothing whole", "reward/expressions", "marked(text) or (text if _alone(text) else _run(text[-LAST:]))", "marked(text)", MATH),
    fault("keeps words of a unit", "reward/expressions", "        answer = _trimmed(answer)", "        pass", MATH),
    fault("looks at every generation", "trainers/rollout/first_scores", "function.begun = True", "pass", FIRST),
    fault("looks at evaluations", "trainers/rollout/first_scores", "if not trainer.model.training:", "if False:", FIRST),
    fault("keeps what fails", "trainers/rollout/first_scores", "silence.failed or not learns", "not learns", FIRST),
    fault("waits for no source", "trainers/rollout/first_scores", "or not _several(function, trainer)", "or True", FIRST),
    fault("learns from what weighs nothing", "trainers/rollout/first_scores", " & (weights != 0)", "", FIRST),
    fault("forgets what the other ranks know", "reward/silence", "self.errors + other.errors", "self.errors", FIRST),
    fault("takes one lost generation for all", "entropostat/diagnose/reward_rules", "lasting(np.isnan(total.values), GONE)", "np.isnan(total.values)", SAID),
    fault("calls silent what has spoken", "entropostat/diagnose/reward_rules", "np.logical_and.accumulate(np.isnan(series.values))", "np.isnan(series.values)", SAID),
    fault("calls constant what moves", "entropostat/diagnose/reward_rules", "(moved <= SAME) & ", "", SAID),
    fault("says it twice", "entropostat/diagnose/learning_rules", "ill[: series.count(constant_until(log)) + size] = False", "pass", SAID),
    fault("calls a missing reward an overflow", "entropostat/diagnose/trust_rules", '[] if verifiers(log) else ["reward"]', '["reward"]', SAID),
    fault("looks beside the recipe last", "entropostat/recipe/relative_paths", "(*stated, folder) if", "(folder, *stated) if", MODULES),
    fault("looks nowhere beside the recipe", "entropostat/recipe/relative_paths", "if not places:", "if True:", MODULES),
)  # fmt: skip
