"""Faults of AEPO."""

from __future__ import annotations

from mutation.mutants import Mutant

OWN = (
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
    "tests/golden",
    "tests/contract/test_extra.py",
    "tests/theory",
)


def fault(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"aepo {name}", "penalties/aepo.py", old, new, OWN)


AEPO = (
    fault(
        "heats what is hot",
        "return self.t_high if below else self.t_low",
        "return self.t_low if below else self.t_high",
    ),
    fault("imitates the wrong", "chosen = rewards > self.success", "chosen = rewards <= self.success"),
    fault("pushes away", "return -self.coef * total", "return self.coef * total"),
    fault("counts padding", "weights = extra.mask * extra", "weights = torch.ones_like(extra.mask) * extra"),
    fault("forgets what was selected", "* extra.weights.unsqueeze(1)", "* 1"),
    fault("takes all while too high", "else count // 2", "else count"),
    fault("has no limit", "count = min(self.samples, waiting)", "count = waiting"),
    fault("forgets its normaliser", "/ extra.tokens.clamp(min=1), {", ", {"),
)
