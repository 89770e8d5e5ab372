"""Faults of verifiers by source, of the forms of a user's function, of groups over ranks, and of the code of a batch job."""

from __future__ import annotations

from mutation.mutants import fault

SOURCES = ("tests/unit/test_reward_sources.py",)
FORMS = ("tests/unit/test_reward_forms.py",)
GROUPS = ("tests/unit/test_reward_groups.py",)
ONCE = ("tests/unit/test_reward_once.py",)
MANY = ("tests/unit/test_reward_many.py",)
CODE = ("tests/slurm/test_own_code.py",)

VERIFIERS = (
    fault("gives every source the same weight", "reward/columns", "tuple(verifier.sources), tuple(own))", "tuple(verifier.sources), ())", SOURCES),
    fault("forgets a weight of its own", "reward/columns", 'yield Column(f"{name}@{source}", name, weight,', 'yield Column(f"{name}@{source}", name, verifier.weight,', SOURCES),
    fault("judges every source", "reward/columns", "source in self.sources) and", "True) and", SOURCES),
    fault("rewards by what only measures", "reward/columns", "if left or not among:", "if True:", SOURCES),
    fault("measures every set by the first", "reward/scoring", "if not v.learned and v.judges(source)", "if not v.learned", SOURCES),
    fault("likes every source", "reward/scoring", "if verifier.judges(example.source)]", "]", SOURCES),
    fault("loses the source on the way", "reward/calls", "json.loads(meta), name, source)", "json.loads(meta), name)", SOURCES),
    fault("begins before its source", "trainers/rollout/first_scores", "function.begun = silence.completions > 0", "function.begun = True", SOURCES),
    fault("counts completions of others", "reward/reward_function", "judged = [outcomes[row] for row in rows]", "judged = outcomes", SOURCES),
    fault("takes a wrong number of scores", "reward/judge_many", "if len(returned) != count:", "if False:", MANY),
    fault("takes anything for a list", "reward/judge_many", "if not isinstance(returned, list | tuple):", "if False:", MANY),
    fault("takes any score", "reward/judge_many", "why = unusable(score, verifier.heaviest)", "why = None", MANY),
    fault("forgets its weights", "reward/verifier", "[self.weight, *self.weights.values()]", "[self.weight]", MANY),
    fault("takes another call's verdict", "reward/verdicts", 'raise Forged("a verdict on other completions")', "pass", MANY),
    fault("takes fewer scores", "reward/verdicts", "len(scores) != count or", "", MANY),
    fault("takes a score that none has", "reward/verdicts", 'raise Forged("a score that no verdict has")\n    outcomes', "pass\n    outcomes", MANY),
    fault("loses one of a call that hangs", "reward/workers", "[why] * jobs[place].size", "[why]", FORMS),
    fault("judges user code once", "reward/verifiers/function", "return self.deterministic", "return True", FORMS),
    fault("takes TRL's signature for its own", "reward/signature", '{"prompts", "completions"} <= names', "False", MANY),
    fault("takes examples of one name for one", "reward/calls", "return one is other or one == other", "return True", ONCE),
    fault("judges equal completions again", "reward/calls", "if verifier.repeats else", "if False else", ONCE),
    fault("compares with the first reference", "reward/verifiers/math_verify", "float(_equal(tagged(example.answer), *found, self.precision))", "float(_equal(tagged(example.answer), *found, 6))", ONCE),
    fault("judges what a rank holds of a group", "reward/groups", "if rows % ranks.size == 0:", "if True:", GROUPS),
    fault("has a group judged twice", "reward/groups", "if begin <= group[0] < begin + rows]", "if begin < group[-1] + 1 and group[0] < begin + rows]", GROUPS),
    fault("takes the verdicts of the first rank", "reward/groups", "[verdicts[begin + row] for row", "[verdicts[row] for row", GROUPS),
    fault("judges a part of a group", "reward/groups", "or len(every) % ranks.size:", ":", GROUPS),
    fault("has the groups of training in evaluation", "trainers/rollout/group_ranks", "if training else self.trainer.num_generations_eval", "", GROUPS),
    fault("follows no import", "slurm/own_code", "todo += fresh", "pass", CODE),
    fault("copies what depends on its place", "slurm/own_code", "if name in ELSEWHERE:", "if False:", CODE),
    fault("copies without end", "slurm/own_code", "> MOST:\n                    raise", "> 99 * MOST:\n                    raise", CODE),
    fault("mixes folders of tasks", "slurm/own_code", "known.folder != task.folder", "False", CODE),
    fault("forgets the code of tasks", "slurm/own_code", "{**known.files, **task.files}", "known.files", CODE),
    fault("imports what is there now", "slurm/render", 'reward.{name}.folder=', 'reward.{name}.timeout=1 #', CODE),
    fault("takes a copy for another recipe", "entropostat/recipe/resume", "(slot, term.kind, field.name) in PLACES or", "", CODE),
)  # fmt: skip
