"""Faults of a recipe taken to verl: batches, values, rows, rewards; and of the methods measured beside others' releases."""

from __future__ import annotations

from mutation.mutants import fault

PLAN = ("tests/cli/test_plan_verl.py",)
ROWS = ("tests/unit/test_verl_rows.py",)
FORKS = ("tests/unit/test_forks.py",)
PAGES = ("tests/unit/test_docs_coming.py",)


VERLPLAN = (
    fault("counts completions as verl's prompts", "entropostat/verl/batches", "mini=sizes.step // sizes.group,", "mini=sizes.step,", PLAN),
    fault("forgets passes over a generation", "entropostat/verl/batches", "Fraction(self.prompts * self.epochs, self.mini)", "Fraction(self.prompts, self.mini)", PLAN),
    fault("lets verl cut groups", "entropostat/verl/batches", "if sizes.step % sizes.group:", "if False:", PLAN),
    fault("steps over generations", "entropostat/verl/batches", "if sizes.generation % sizes.step:", "if False:", PLAN),
    fault("takes verl's steps for optimizer steps", "entropostat/verl/translated", "total = sizes.generations(steps)", "total = steps", PLAN),
    fault("swaps the clip bounds for verl", "entropostat/verl/translated", 'for key in ("epsilon", "epsilon_high"))', 'for key in ("epsilon_high", "epsilon"))', PLAN),
    fault("keeps the file's objective", "entropostat/verl/command_line", "if len(words) == 1 else", "if True else", PLAN),
    fault("passes over TRL's own keys", "entropostat/verl/command_line", "sorted(recipe.trainer.keys() - READ)", "()", PLAN),
    fault("ends well though refused", "entropostat/cli/plan", 'bool(planned["verl"]["refused"])', "False", PLAN),
    fault("orders verl's rows by another seed", "entropostat/verl/rows", '"seed": recipe.seed,', '"seed": recipe.seed + 1,', ROWS),
    fault("keeps the prompt from verl's verifiers", "entropostat/verl/reward", 'told.get("asked", "")', '""', ROWS),
    fault("weighs every source alike in verl", "entropostat/verl/reward", "weights.get(data_source, own.weight)", "weights.get('', own.weight)", ROWS),
    fault("calls the user's code unasked in verl", "entropostat/verl/reward", "allow_code=allow_code, workers=1", "allow_code=True, workers=1", ROWS),
    fault("draws below the band of Clip-Cov", "rl/weights/clip_cov", "(cov > self.low)", "(cov > self.low / 2)", FORKS),
    fault("selects one token more in KL-Cov", "rl/penalties/kl_cov", "max(1, int(token_count(batch) * self.fraction))", "1 + int(token_count(batch) * self.fraction)", FORKS),
    fault("has another table of verl's keys", "entropostat/recipe/verl_keys", '"trainer.learning_rate")', '"critic.learning_rate")', PAGES),
)  # fmt: skip
