"""Faults of the terms that hold entropy or a divergence at a target."""

from __future__ import annotations

from mutation.mutants import RANKS, Mutant

OWN = (
    "tests/unit/test_rl_targets.py",
    "tests/theory/test_theory_targets.py",
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
)
GOLDEN = (*OWN, "tests/golden")
FOLDER = {
    "ter": "penalties", "siren": "penalties", "dcpo": "advantages", "kl_reward": "advantages", "steer": "weights"
}  # fmt: skip


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = OWN) -> Mutant:
    return Mutant(f"{file} {name}", f"{FOLDER[file]}/{file}.py", old, new, tests)


PULLS = (
    fault(
        "pushes away",
        "ter",
        "return self.coef * side.nan_to_num() * distance",
        "return -self.coef * side.nan_to_num() * distance",
    ),
    fault("forgets its side", "ter", "self.coef * side.nan_to_num() * distance", "self.coef * distance"),
    fault("counts padding", "ter", "masked_sum(entropy - self.target, batch.mask)", "(entropy - self.target).sum()"),
    fault("decides on each micro-batch", "ter", '"old_entropy" if self.scope == "rollout"', '"old_entropy" if False'),
    fault("divides by its own tokens", "ter", '.clamp(min=1) if self.scope == "rollout"', ".clamp(min=1) if False"),
    fault("stays on its rank", "ter", "batch.mask, batch.reducer)", "batch.mask)", RANKS),
    fault("turns its slope", "siren", "total / count - self.anchor", "self.anchor - total / count"),
    fault("halves its slope", "siren", "2 * self.coef", "self.coef"),
    fault("keeps the certain", "siren", "(entropy > row_quantile(", "(entropy <= row_quantile("),
    fault("keeps padding", "siren", "kept = batch.valid & (entropy", "kept = (entropy"),
    fault("averages tokens", "siren", "kept.sum(1).clamp(min=1), kept", "kept.sum().clamp(min=1), kept"),
    fault("has no square", "siren", "(h - self.anchor).square()", "(h - self.anchor).abs()"),
    fault("takes the other nucleus", "siren", "crossing=not self.reference", "crossing=self.reference", GOLDEN),
    fault("weighs by tokens", "siren", '* batch.stats["density"].nan_to_num(1.0)', ""),
    fault("stays on its rank", "siren", "batch.reducer.sum(torch.stack([x.to", "(torch.stack([x.to", RANKS),
)

RESHAPED = (
    fault("takes the cold policy below", "dcpo", "hot = entropy <= self.target", "hot = entropy > self.target"),
    fault("closes its target", "dcpo", "hot = entropy <= self.target", "hot = entropy < self.target"),
    fault("punishes", "dcpo", "+ alpha * reinforced", "- alpha * reinforced"),
    fault("keeps all of the chain", "dcpo", "(1 - alpha) * base", "base"),
    fault("rewards the wrong", "dcpo", "rewards > self.success", "rewards <= self.success"),
    fault("grows beyond its cap", "dcpo", ".clamp(max=self.cap)", ""),
    fault("forgets the rate", "dcpo", "/ rate.clamp(min=least)", ""),
    fault("has no least rate", "dcpo", "max(self.least_rate, 1e-12)", "1e-12"),
    fault("has no bound", "dcpo", "rho = rho.clamp(1 / self.bound, self.bound)", "rho = rho"),
    fault("turns its ratio", "dcpo", '- batch.require("old_logps")', '+ batch.require("old_logps")'),
    fault("forgets the sampler", "dcpo", "t = t * self.sampling_temperature", "t = t"),
    fault(
        "reaches padding", "dcpo", "torch.where(batch.valid, (1 - alpha)", "torch.where(batch.valid | True, (1 - alpha)"
    ),
    fault(
        "counts the unscored", "dcpo", "(~rewards.isnan()).sum()", "rewards.isfinite().sum() + rewards.isnan().sum()"
    ),
    fault("stays on its rank", "dcpo", "batch.reducer.sum(torch.stack", "(torch.stack", RANKS),
    fault("pushes away", "kl_reward", "base - cost", "base + cost"),
    fault(
        "pays its own estimate",
        "kl_reward",
        "later = torch.cat([value[:, 1:], torch.zeros_like(value[:, :1])], dim=1)",
        "later = value",
    ),
    fault("pays for the past", "kl_reward", "later.flip(1).cumsum(1).flip(1)", "later.cumsum(1)"),
    fault("forgets the future", "kl_reward", "if self.future:", "if False:"),
    fault("forgets its centre", "kl_reward", "- chosen.slope(torch.zeros_like(x))", ""),
    fault("is never normalised", "kl_reward", "self.normalize_curvature and chosen", "False and chosen"),
    fault("makes the unscored pay", "kl_reward", '& ~batch.require("rewards").isnan().unsqueeze(1)', ""),
    fault("has no clamp", "kl_reward", 'batch.require("ref_logps"), self.clamp)', 'batch.require("ref_logps"), 1e9)'),
)

FULL = (
    fault("has no centre", "steer", "slope - centre", "slope"),
    fault("turns its centre", "steer", "slope - centre", "slope + centre"),
    fault("forgets the ratio", "steer", "omega = -r * a * (", "omega = -a * (", GOLDEN),
    fault(
        "reads sums that nobody asked for",
        "steer",
        'when(scope="rollout", omega="full").needs("sum_p2", "sum_p2_logp")',
        'when(scope="rollout", omega="full").needs()',
    ),
)

CROSSING = tuple(
    Mutant(name, file, old, new, ("tests/unit/test_rl_nucleus.py",))
    for name, file, old, new in (
        ("nucleus below keeps its crossing token", "truncation.py", "kept = best > bar", "kept = best >= bar"),
        (
            "nucleus below is not a number",
            "truncation.py",
            "torch.where(kept.any(1), mass.log()",
            "torch.where(mass == mass, mass.log()",
        ),
        (
            "nucleus below is always exact",
            "truncation.py",
            "crosses[:, 0] | (best",
            "(crosses[:, 0] == crosses[:, 0]) | (best",
        ),
        (
            "nucleus below reaches too far",
            "truncation.py",
            "edge = torch.where(kept, best, torch.inf).amin(1)",
            "edge = best[:, -1]",
        ),
        ("two nuclei at once", "vocab_sums.py", "if len(crossing) > 1:", "if False:"),
    )
)
