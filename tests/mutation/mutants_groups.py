"""Faults of answer clusters, of the terms that look at whole prompt groups, and of how keys and statistics reach them."""

from __future__ import annotations

from mutation.mutants import Mutant

OWN = ("tests/unit/test_rl_groups.py", "tests/theory/test_theory_groups.py")
GOLDEN = (*OWN, "tests/golden")
RANKS = ("tests/unit/test_rl_groups.py", "tests/unit/test_rl_ranks.py")
TRAINER = ("tests/contract/test_variants.py",)


def fault(file: str, name: str, old: str, new: str, tests: tuple[str, ...] = OWN) -> Mutant:
    return Mutant(f"{file.rpartition('/')[2]} {name}", f"{file}.py", old, new, tests)


def seed(name: str, old: str, new: str) -> Mutant:
    return fault("advantages/seed", name, old, new)


def copo(name: str, old: str, new: str) -> Mutant:
    return fault("losses/copo", name, old, new)


def adora(name: str, old: str, new: str) -> Mutant:
    return fault("advantages/adora", name, old, new)


CLUSTERS = (
    fault("answers", "stays on its rank", "import Groups, all_groups\n", "import Groups, group_matrix\n\nall_groups = lambda x, ids, _: group_matrix(x, ids)\n", RANKS),
    fault("answers", "has no key for all", "both = parsed.unsqueeze(2) & parsed.unsqueeze(1)", "both = scored.unsqueeze(2) & scored.unsqueeze(1)"),
    fault("answers", "clusters the unscored", "parsed = scored & (there == 1)", "parsed = there == 1"),
    fault("answers", "lets a rank without keys wait", "(None,) * rows if batch.answers is None", "() if batch.answers is None"),
    fault("answers", "refuses strange text", '"surrogatepass"', '"strict"'),
    seed("has no log G", "if self.normalise else torch.ones_like(entropy)", "if False else torch.ones_like(entropy)"),
    seed("enlarges", "else 1 / (1 + x)", "else 1 + x"),
    seed("turns signs", "(1 - x).clamp(min=0)", "1 - x"),
    seed("knows one estimator", 'self.estimator == "shannon"', "True"),
    seed("counts lengths", "logps.sum(1) / length.clamp(min=1)", "logps.sum(1)"),
    seed("reads padding", 'torch.where(batch.valid, batch.require("old_logps"), 0.0)', 'batch.require("old_logps")'),
    seed("weighs completions without tokens", "found.scored & (length > 0)", "found.scored"),
    seed("drops nothing", 'counts & found.parsed if self.unparsed == "drop" else counts', "counts"),
    seed("shares none", 'if self.unparsed == "shared" else alone', "if False else alone"),
    copo("swaps its losses", "w * local + self.coef * (1 - w) * common", "(1 - w) * local + self.coef * w * common"),
    copo("forgets its coefficient", "w * local + self.coef * (1 - w) * common", "w * local + (1 - w) * common"),
    copo("counts in nats", " / math.log(2), count", ", count"),
    copo("turns the entropy round", "torch.sigmoid(self.k * (entropy - self.b))", "torch.sigmoid(self.k * (self.b - entropy))"),
    copo("never drops the wrong", "return torch.where(kept, w, 0.0)", "return w"),
    copo("asks for zero", "found.rewards != 0 if self.reference else found.rewards > self.success", "found.rewards != 0"),
    copo("does not compare", "between = reward - torch.nanmean(reward)", "between = reward"),
    copo("divides always", "if self.normalise else between", "if True else between"),
    copo("spares consistency", "reward * (1 - slope * entropy)", "reward"),
    copo("gives the unscored a lead", "torch.where(found.scored, between.unsqueeze(1), 0.0)", "between.unsqueeze(1).expand_as(found.scored)"),
    copo("is bounded by its chain", "batch.set(advantages=w * batch.token_advantages + self.coef * (1 - w) * between)", "batch"),
)  # fmt: skip

PROMPTS = (
    adora("amplifies the others", "torch.where(met, self.w_tas, one)", "torch.where(met, one, self.w_tas)"),
    adora("attenuates the others", "torch.where(met, one, self.w_tds)", "torch.where(met, self.w_tds, one)"),
    adora("takes the mean of the right", "torch.where(right, length, -torch.inf).amax(1)", "torch.where(right, length, 0.0).sum(1) / right.sum(1)"),
    adora("counts what was cut off", "(rewards <= self.success) & (cut == 0)", "(rewards <= self.success)"),
    adora("likes a tie", "longest > wrong, rate", "longest >= wrong, rate"),
    adora("finds a half easy", "rate <= self.tau", "rate < self.tau"),
    adora("keeps none", "torch.where(kept, one, weight)", "weight"),
    adora("mixes the missing sides up", "~longest.isnan() & wrong.isnan()", "wrong.isnan()"),
    fault("advantages/pshw", "likes the easy", "self.hardness * (1 - mean)", "self.hardness * (1 + mean)"),
    fault("advantages/pshw", "forgets its centre", "self.gain * (groups.matrix - self.center)", "self.gain * groups.matrix"),
    fault("advantages/dco", "swaps its objectives", 'if self.objective == "coverage":', 'if self.objective != "coverage":'),
    fault("advantages/dco", "counts the unscored", "(~groups.matrix.isnan()).sum(1).double()", "torch.full_like(groups.matrix[:, 0], groups.matrix.shape[1]).double()"),
    fault("advantages/dco", "divides by no success", "right.clamp(min=1) / size", "right / size"),
    fault("coverage", "draws once too often", "log_all_wrong(p, n - 1)", "log_all_wrong(p, n)"),
    fault("advantages/pkpo", "draws itself twice", "_chances(n - 1, k - 1, others.shape[2]).unsqueeze(1)\n        best", "_chances(n - 1, k, others.shape[2]).unsqueeze(1)\n        best"),
    fault("advantages/pkpo", "keeps sorted order", "scatter(1, order, advantages)", "copy_(advantages)"),
    fault("advantages/pkpo", "sums as the paper", "k.unsqueeze(1) * (best - baseline)", "best - baseline"),
    fault("advantages/pkpo", "includes itself in what is taken off", "place + (place >= torch.arange", "place + 0 * (place >= torch.arange"),
    fault("advantages/pkpo", "rewards the lonely", "((n > 1).unsqueeze(1) if self.compares else True)", "True", ("tests/unit/test_rl_properties.py",)),
    fault("reshaping", "mixes prompts", "own = groups.own(factor.unsqueeze(1)", "own = groups.own(factor.flip(0).unsqueeze(1)"),
)  # fmt: skip

PLUMBING = (
    Mutant("objective gives a loss no statistics", "objective.py", "(*self.weights, self.loss, *self.penalties)", "(*self.weights, *self.penalties)", OWN),
    Mutant("batches takes too few keys", "trl/batches.py", "if len(keys) != rows:", "if False:", TRAINER, "trainers"),
    Mutant("batches clusters without keys", "trl/batches.py", 'if "answers" in needs:', "if False:", TRAINER, "trainers"),
    Mutant("loss_pass bounds without statistics", "trl/loss_pass.py", "passed.batch = objective.for_loss(batch, passed.stats)", "pass", TRAINER, "trainers"),
    Mutant("monitors bounds without statistics", "watch/monitors.py", "term.bounded(held)", "term.bounded(plain)", TRAINER, "trainers"),
    Mutant("scoring takes keys of one verifier", "scoring.py", "next((key for key in keys if key is not None), None)", "keys[0]", ("tests/unit/test_reward_scoring.py",), "reward"),
)  # fmt: skip
