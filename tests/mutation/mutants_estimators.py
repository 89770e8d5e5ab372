"""Faults of what PPO adds to the maths (advantages from a critic, heads and their loss, moments of rewards, the account of a
run) and of the estimators that need no critic."""

from __future__ import annotations

from mutation.mutants import Mutant

RL_GAE = ("tests/unit/test_rl_gae.py", "tests/theory/test_theory_gae.py")
RL_CRITIC = ("tests/unit/test_rl_critic.py",)
RL_MOMENTS = ("tests/unit/test_rl_moments.py",)
RL_RUNS = ("tests/unit/test_rl_crash.py",)
RL_HANDMADE = (
    "tests/unit/test_rl_estimators.py",
    "tests/theory/test_theory_estimators.py",
    "tests/unit/test_rl_gdpo.py",
    "tests/unit/test_rl_measured.py",
)


def gae(name: str, old: str, new: str, file: str = "advantages/gae.py") -> Mutant:
    return Mutant(f"gae {name}", file, old, new, RL_GAE)


def critic(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"critic {name}", "critic.py", old, new, RL_CRITIC)


def moments(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"moments {name}", "moments.py", old, new, RL_MOMENTS)


def crash(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"crash {name}", "diagnostics/crash.py", old, new, RL_RUNS)


def estimator(file: str, name: str, old: str, new: str) -> Mutant:
    return Mutant(f"{file} {name}", f"advantages/{file}.py", old, new, RL_HANDMADE)


ADVANTAGES = (
    gae("adds the value", "self.gamma * following - state", "self.gamma * following + state"),
    gae("forgets the discount", "self.gamma * following", "following"),
    gae("forgets lambda", "self.gamma * self.lam)", "self.gamma)"),
    gae("goes on after EOS", "last & truncated.bool().unsqueeze(1) if", "last if"),
    gae("never goes on", "if self.bootstrap else", "if False else"),
    gae("always goes on", "if self.bootstrap else", "if True else"),
    gae("takes the value before its last token", ".sum(1, keepdim=True) + 1)", ".sum(1, keepdim=True))"),
    gae("walks through tool output", "order = batch.valid.long()", "order = torch.ones_like(batch.valid).long()"),
    gae("mixes the order of tokens", "descending=True, stable=True)", "descending=False, stable=True)"),
    gae("pays the divergence out", "-self.kl_coef * value", "self.kl_coef * value"),
    gae("forgets the correction", "torch.where(scored, summed + own, 0.0)", "torch.where(scored, summed, 0.0)"),
    gae("hands its correction on", "torch.where(scored, summed, 0.0) + states", "torch.where(scored, summed + own, 0.0) + states"),
    gae("counts a token twice", "- value\n", "\n"),
    gae("gives the unscored an advantage", "torch.where(scored, summed + own, 0.0)", "summed + own"),
    gae("always asks for the reference", 'unless(kl_coef=None).needs("old_logps", "ref_logps")', '"old_logps", "ref_logps"'),
    gae("keeps the unscored in the mean", "whitened(advantages, scored, batch)", "whitened(advantages, batch.valid, batch)"),
    gae("is never white", "white if self.whiten else advantages", "advantages"),
    gae("reads garbage values", "states = torch.where(batch.valid, values[:, :-1], 0.0)", "states = values[:, :-1]"),
    gae("has no clamp", 'batch.require("ref_logps"), self.clamp)', 'batch.require("ref_logps"), 1e9)'),
    gae("keeps its mean", "wide - masked_mean(wide, mask, batch.reducer)", "wide", "returns.py"),
    gae("averages on its rank", "masked_mean(wide, mask, batch.reducer)", "masked_mean(wide, mask)", "returns.py"),
    gae("measures its rank", "batch.reducer.sum(centred.square().sum())", "centred.square().sum()", "returns.py"),
    gae("counts its rank", "batch.reducer.sum(mask.sum().double())", "mask.sum().double()", "returns.py"),
    gae("stops doubling", "reach *= 2", "reach *= 4", "returns.py"),
)  # fmt: skip

VALUES = (
    critic("takes the larger head", "values.amin(-1)", "values.amax(-1)"),
    critic("softens the wrong way", "torch.logsumexp(-values / alpha, -1)", "torch.logsumexp(values / alpha, -1)"),
    critic("forgets the number of heads", "- math.log(values.shape[-1])", ""),
    critic("takes the better of both", "torch.maximum(free, bounded)", "torch.minimum(free, bounded)"),
    critic("adds both in full", "(free + bounded) / 2", "(free + bounded)"),
    critic("never clips", "(v - old).clamp(-clip, clip)", "(v - old)"),
    critic("reads padding", "(torch.where(mask.bool(), x, 0.0) for x in (values", "(x for x in (values"),
    critic("doubles the square", "(value - target).square() / 2", "(value - target).square()"),
    critic("forgets delta", 'reduction="none", delta=delta)', 'reduction="none")'),
    critic("trains nothing", "free = _distance(v, target", "free = _distance(v.detach(), target"),
)

REWARDS = (
    moments("count the unscored", "seen = seen[~seen.isnan()]", "seen = seen.nan_to_num()"),
    moments("forget the shift", "+ delta * delta * self.count * n / total", ""),
    moments("forget what they saw", "self.variance * self.count + squares", "squares"),
    moments("move too far", "self.mean + delta * n / total", "self.mean + delta"),
    moments("multiply by the deviation", "/ (math.sqrt(self.variance) + epsilon)", "* (math.sqrt(self.variance) + epsilon)"),
    moments("take the variance for the deviation", "math.sqrt(self.variance)", "self.variance"),
    moments("are never released", "if bessel and n > 1:", "if False:"),
)  # fmt: skip

CRASHES = (
    crash("begins on a rise", "start is None and reward < mean - max(", "start is None and reward > mean + max("),
    crash("forgets the noise", "max(DEPTH * deviation, RELATIVE * abs(mean))", "RELATIVE * abs(mean)"),
    crash("forgets the size", "max(DEPTH * deviation, RELATIVE * abs(mean))", "DEPTH * deviation"),
    crash("turns a negative mean round", "RELATIVE * abs(mean)", "RELATIVE * mean"),
    crash("ends half-way", "reward >= mean - deviation:", "reward >= mean / 2:"),
    crash(
        "gets used to it", "        if start is None:\n            deviation", "        if True:\n            deviation"
    ),
    crash("forgets the last", "return spans if start is None else", "return spans if True else"),
    crash("counts crashes for steps", "sum(crash.end - crash.start for crash in spans)", "len(spans)"),
    crash("lets a best go", "best = max(best, average)", "best = average"),
    crash("lets a fall go", "deepest = max(deepest, best - average)", "deepest = best - average"),
    crash("takes the whole run for its end", "math.ceil(LAST * len(reward))", "len(reward)"),
    crash("counts what was not measured", "for x in values if math.isfinite(x)]", "for x in values]"),
    crash("rounds its quantile", "(place - low) * (ordered[high] - ordered[low])", "0"),
)

ESTIMATORS = (
    estimator("opo", "forgets lengths", "torch.where(rewards.isnan(), 0.0, lengths)", "torch.where(rewards.isnan(), 0.0, 1.0)"),
    estimator("opo", "adds its baseline", "advantages = centred - total", "advantages = centred + total"),
    estimator("opo", "takes all ranks", "groups.own(", "groups.flat("),
    estimator("otb", "adds its baseline", "rewards[valid].double() - baseline[at]", "rewards[valid].double() + baseline[at]"),
    estimator("otb", "forgets what was summed up", "size.cumsum(1).double()", "size.double()"),
    estimator("otb", "forgets the vocabulary", '+ batch.require("sum_p2")', "+ 0.5"),
    estimator("otb", "adds the chance", "valid, 1 - 2 * chance", "valid, 1 + 2 * chance"),
    estimator("otb", "counts padding", '+ batch.require("sum_p2"), 0.0)', '+ batch.require("sum_p2"), 0.5)'),
    estimator("otb", "places tokens in the padded row", "place = valid.cumsum(1) - 1", "place = torch.ones_like(valid).cumsum(1) - 1"),
    estimator("otb", "stays on its rank", "every = batch.reducer.gather(mine)", "every = mine"),
    estimator("otb", "mixes prompts", "searchsorted(cells, group * width + position)", "searchsorted(cells, position)"),
    estimator("reinforce_pp", "discounts from the start", "later = batch.valid.flip(1).cumsum(1).flip(1) - 1", "later = batch.valid.cumsum(1) - 1"),
    estimator("reinforce_pp", "takes all ranks", "groups.own(", "groups.flat("),
    estimator("reinforce_pp", "adds the mean", "(groups.matrix - torch.nanmean", "(groups.matrix + torch.nanmean"),
    estimator("reinforce_pp", "is never white", "return white, ", "return returns, "),
    estimator("passk_best", "gives the best all", "best - second, 0.0)", "best, 0.0)"),
    estimator("passk_best", "always divides", 'if self.scale == "group":', "if True:"),
    estimator("passk_best", "gives the lonely infinity", "torch.where(second.isfinite(), best - second, 0.0)", "best - second"),
    estimator("passk_best", "is undone by the unscored", "rewards.nan_to_num(nan=-torch.inf)", "rewards.nan_to_num(nan=torch.inf)"),
    estimator("otb", "counts tokens without a reward", "masked_scatter(valid, alone.to(rewards.dtype)), valid)", "masked_scatter(valid, alone.to(rewards.dtype)), batch.mask)"),
    estimator("passk_best", "counts prompts without a reward", "(gap > 0).sum() / known.isfinite().any(1).sum()", "(gap > 0).double().mean()"),
    estimator("gdpo", "takes nothing for 0", "/ there.sum()\n", "/ there.sum().clamp(min=1)\n"),
    estimator("gdpo", "takes all ranks", "advantages[groups.mine]", "advantages"),
    estimator("gdpo", "forgets its weights", "each * torch.tensor(weights,", "each * torch.ones(len(weights),"),
    estimator("gdpo", "centres no group", "(grouped - mean)", "grouped"),
    estimator("gdpo", "counts the unscored", "total[each.isnan().all(dim=1)] = torch.nan", "pass"),
    estimator("gdpo", "is normalised once", "(total - torch.nanmean(total)) / (spread + self.epsilon)", "total"),
    estimator("dr_grpo", "turns its factor", "(~rewards.isnan()).sum() / given.sum().clamp(min=1)", "given.sum() / (~rewards.isnan()).sum()"),
    estimator("dr_grpo", "always rescales", "if self.rescale:", "if True:"),
)  # fmt: skip
