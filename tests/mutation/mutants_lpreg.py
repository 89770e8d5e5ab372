"""Faults of Lp-Reg and of what it reads from the vocabulary pass."""

from __future__ import annotations

from mutation.mutants import Mutant

OWN = ("tests/unit/test_rl_lp_reg.py", "tests/theory/test_theory_lp_reg.py")
GOLDEN = (*OWN, "tests/golden")
PASS = ("tests/unit/test_rl_vocab_soft.py",)


def fault(name: str, old: str, new: str, tests: tuple[str, ...] = OWN) -> Mutant:
    return Mutant(f"lp_reg {name}", "penalties/lp_reg.py", old, new, tests)


def packing(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"soft_labels {name}", "soft_labels.py", old, new, OWN)


TERM = (
    fault("pushes away", "penalty = self.coef * kl", "penalty = -self.coef * kl"),
    fault("holds rewarded tokens", "batch.valid & (a < 0)", "batch.valid & (a > 0)"),
    fault("holds likely tokens", "batch.logps.exp() <= threshold", "batch.logps.exp() >= threshold"),
    fault("holds noise", "candidates & batch.valid & _kept(proxy)", "candidates & batch.valid"),
    fault("packs noise", 'stats["candidates"] & _kept(stats["proxy_logp"])', 'stats["candidates"]'),
    fault("pools padding", "batch.logps[batch.valid].exp()", "batch.logps.flatten().exp()"),
    fault("counts all tokens", "batch.reducer.sum(side.sum())", "batch.reducer.sum(batch.valid.sum())"),
    fault("holds a single token", "if count > 1", "if count > 0"),
    fault("takes the likeliest", "top_mask(-batch.logps", "top_mask(batch.logps"),
    fault("forgets the released gate", "chosen & (batch.logps < proxy)", "chosen"),
    fault("turns its divergence", "negentropy - soft", "negentropy + soft"),
    fault("forgets the proxy's entropy", "negentropy - soft", "0 * negentropy - soft"),
    fault("turns the kept mass", "-torch.where(chosen, mass, 1.0).log()", "torch.where(chosen, mass, 1.0).log()"),
    fault("turns its ratio", "torch.where(chosen, batch.difference", "-torch.where(chosen, batch.difference"),
    fault("keeps the clip", "-a * ratio - torch.maximum", "-a * ratio * 0 - 0 * torch.maximum"),
    fault("unclips by the paper", 'if self.rule == "released":\n            penalty', "if True:\n            penalty"),
    fault("sees all ranks in a micro-batch", 'seen.set(reducer=LOCAL) if self.scope == "micro" else seen', "seen"),
    fault("stays on its rank", 'if self.scope == "micro" else seen', "if True else seen"),
    fault("selects at the rollout alone", "if self.prepared == self.scope", "if True"),
    packing("packs what is unused", "torch.where(used, probs.gather(1, places), 0.0)", "probs.gather(1, places)"),
    packing("packs the first places", "probs.gather(1, places), 0.0)", "probs[:, :room], 0.0)"),
    packing("names the first places", "torch.where(used, ids.gather(1, places), 0)", "ids[:, :room]"),
)

SOFT = (
    Mutant("soft labels take any tile", "vocab_soft.py", ".where((local >= 0) & (local < width), 0.0)", "", PASS),
    Mutant("soft labels forget the head's slope", "vocab_soft.py", " * head.slope(x.gather(1, place))", "", PASS),
    Mutant("soft labels are even", "vocab_soft.py", "(x.gather(1, place) * q.to(x.dtype))", "(x.gather(1, place) * (q > 0))", PASS),
    Mutant("soft labels forget log Z", "vocab.py", '- soft.probs.sum(1) * log_z', "- 0 * log_z", PASS),
    Mutant("soft labels sum to one", "vocab.py", "- soft.probs.sum(1) * log_z", "- log_z", PASS),
    Mutant("soft labels push nothing", "vocab.py", "d.scatter_add_(1, *pushed)", "pass", PASS),
    Mutant("the largest change their names", "truncation.py", "gather(1, largest.indices)", "flip(1).gather(1, largest.indices)", PASS),
    Mutant("the largest count from the slice", "truncation.py", "x[:, start : start + SLICE], first + start)", "x[:, start : start + SLICE], first)", PASS),
    Mutant("the largest count from the tile", "vocab_sums.py", 'part.get("ids"), columns.start)', 'part.get("ids"), 0)', PASS),
    Mutant("a fixed bar follows the largest", "truncation.py", "(log_z if absolute else best[:, 0])", "best[:, 0]", PASS),
    Mutant("a proxy is not renormalised", "truncation.py", "x - log_z - kept.mass.clamp(min=tiny).log()", "x - log_z", PASS),
    Mutant("an empty proxy drops all", "truncation.py", "-math.log(vocabulary))", "DROPPED)", PASS),
    Mutant("a proxy keeps what is dropped", "truncation.py", "torch.where(x >= kept.edge, x", "torch.where(x <= torch.inf, x", PASS),
    Mutant("a proxy's shares are not renormalised", "vocab_sums.py", "kept.p / kept.mass.clamp(min=tiny).unsqueeze(1)", "kept.p", PASS),
    Mutant("a proxy has a gradient", "vocab.py", "constants += [x for x in results[-len(CONSTANT) :] if x is not None]", "", PASS),
)  # fmt: skip

CONTRACT = ("tests/contract/test_vocabulary.py",)

TAP = tuple(
    Mutant(f"vocabulary tap {name}", "model/vocabulary.py", old, new, CONTRACT, folder="trainers")
    for name, old, new in (
        ("meets the next token", "start + positions[rows, places]", "start + 1 + positions[rows, places]"),
        ("meets the labels of other tokens", "SoftLabels(ids[rows, places]", "SoftLabels(ids[rows, places * 0]"),
        ("counts from the prompt", "start + positions[rows, places]", "positions[rows, places]"),
        ("takes an unused place for a label", "(probs.sum(-1) > 0).nonzero", "(probs.sum(-1) >= 0).nonzero"),
    )
)
