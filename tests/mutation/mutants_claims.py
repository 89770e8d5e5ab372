"""Faults of the evidence bench: of what is right, what is equal, what is measured and what is said of it."""

from __future__ import annotations

from mutation.mutants import Mutant, fault

PUZZLE = ("tests/unit/test_claims_puzzle.py",)
RULES = ("tests/unit/test_claims_rules.py",)
CELLS = ("tests/unit/test_claims_cells.py",)
DEFAULT = ("tests/unit/test_claims_recommend.py",)
REAL = ("tests/unit/test_pretrained.py",)
FOUND = ("tests/unit/test_claims_findings.py",)
BENCH = "benchmarks/claims"

CLAIMS: tuple[Mutant, ...] = (
    fault("takes any end", f"{BENCH}/puzzle", "value % int(divisor) == 0 and", "", PUZZLE),
    fault("shows all", f"{BENCH}/puzzle", "rng.random() < SHOWN", "True", PUZZLE),
    fault("forgets the direction", f"{BENCH}/verdicts", "SIGN[claim.direction] * change", "change", RULES),
    fault("has no margin", f"{BENCH}/verdicts", "one.low > claim.margin", "one.low > 0", RULES),
    fault("speaks of four pairs", f"{BENCH}/verdicts", "FEWEST = 5", "FEWEST = 4", RULES),
    fault("is one-sided", f"{BENCH}/intervals", "1 - alpha / 2, n - 1)) * float", "1 - alpha, n - 1)) * float", RULES),
    fault("passes over failures", f"{BENCH}/measures", "dict.fromkeys(SHARES, WORST) |", "", RULES),
    fault("takes the end for the start", f"{BENCH}/measures", 'last["entropy"] / first', 'first["entropy"] / first', RULES),
    fault("is not folded", f"{BENCH}/screening", "[rows, -rows]", "[rows, rows]", RULES),
    fault("foretells what it has seen", f"{BENCH}/law", "entropies[:cut], rewards[:cut]), fit", "entropies, rewards), fit", RULES),
    fault("lets a run go on", f"{BENCH}/budget", "self.drawn >= self.limit and", "False and", CELLS),
    fault("gives a twin its own policy", f"{BENCH}/cell", 'f"model.build.seed={seed}"]', 'f"model.build.seed={seed + TWIN * twin}"]', CELLS),
    fault("chooses by one seed", f"{BENCH}/plans", ">= set(TUNING)", ">= {TUNING[0]}", CELLS),
    fault("counts copies", f"{BENCH}/probe", "for text in set(right)", "for text in right", CELLS),
    fault("chooses before all were run", f"{BENCH}/recommend", "or any(str(cell) not in", "or all(str(cell) not in", DEFAULT),
    fault("chooses one that lost runs", f"{BENCH}/recommend", "if not lost(store, one, \"choose\", name)", "", DEFAULT),
    fault("ranks the worst first", f"{BENCH}/recommend", "other > score", "other < score", DEFAULT),
    fault("takes any loss of pass@1", f"{BENCH}/recommend", " and self.change.mean >= WORSE", "", DEFAULT),
    fault("forgives lost runs", f"{BENCH}/recommend", "if reached < 2 or gone:", "if reached < 2:", DEFAULT),
    fault("ranks the runs of all rounds", f"{BENCH}/recommend", " if seed in self.seeds[stage]", "", DEFAULT),
    fault("forgets what was chosen before", f"{BENCH}/recommend", "[PLAIN, before, *own]", "[PLAIN, *own]", DEFAULT),
    fault("takes a default that is untried", f"{BENCH}/recommend", "bool(new.tried) and ", "", DEFAULT),
    fault("takes a default that loses more", f"{BENCH}/recommend", " and new.lost <= old.lost", "", DEFAULT),
    fault("takes every step for a generation", "benchmarks/pretrained", " if \"reward\" in line", "", REAL),
    fault("looks at one source", "benchmarks/pretrained", "statistics.mean(\n        value", "max(\n        value", REAL),
    fault("gives the default the full rate", "benchmarks/pretrained", "0.3}}]}, 0.5)", "0.3}}]}, 1.0)", REAL),
    fault("needs no effect to stand", f"{BENCH}/findings", " and found.mean >= one.at_least", "", FOUND),
    fault("judges half of the seeds", f"{BENCH}/findings", "found.count < len(FRESH)", "found.count < len(FRESH) / 2", FOUND),
    fault("tells what fell", f"{BENCH}/choosing", "== findings.STANDS", "!= findings.OPEN", FOUND),
)  # fmt: skip
