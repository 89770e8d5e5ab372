"""Faults of the samplers that are ours, and of the gradient of a truncated policy."""

from __future__ import annotations

from mutation.mutants import Mutant

RULES = ("tests/unit/test_rl_sampling.py",)
GENERATION = ("tests/contract/test_samplers.py",)
THEORY = ("tests/theory/test_theory_truncation.py",)


def rule(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"sampling {name}", "sampling.py", old, new, RULES)


def spike(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"spikes {name}", "diagnostics/spikes.py", old, new, RULES)


def processor(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"processors {name}", "rollout/processors.py", old, new, GENERATION, "trainers")


def truncated(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"truncated_policy {name}", "penalties/truncated_policy.py", old, new, THEORY)


SAMPLERS = (
    rule("compares what is not renormalised", "entropy = mass.log() - parts / mass", "entropy = -parts"),
    rule("keeps the impossible", ".cumprod(-1).bool() & (p > 0)", ".cumprod(-1).bool()"),
    rule("turns its bound", "entropy <= -alpha * parts", "entropy >= -alpha * parts"),
    rule("counts in nats", "log_softmax(-1) * BITS", "log_softmax(-1)"),
    rule("drops the likeliest", "return kept.scatter(-1, bits.argmin(-1, keepdim=True), True)", "return kept"),
    rule("learns the wrong way", "return mu - eta * (drawn - tau)", "return mu + eta * (drawn - tau)"),
    rule("forgets the kept mass", "drawn = drawn + mass.log2()", "drawn = drawn"),
    spike("lets padding in", "order = valid.int().argsort(", "order = torch.ones_like(valid).int().argsort("),
    spike("takes any deviation", "std.clamp(min=least_std)", "std"),
    processor("forgets the temperature", "self.inner(input_ids, scores / self.temperature)", "self.inner(input_ids, scores)"),
    processor("joins every generation", "if config is trainer.generation_config:", "if True:"),
    processor("never learns what was drawn", "        if self.mu is None:", "        if True:"),
    processor("lets a rollout function pass", "if trainer.rollout_func is not None:", "if False:"),
    truncated("turns its sign", "batch.token_advantages * batch.ratio * change", "-batch.token_advantages * batch.ratio * change"),
    truncated("corrects what is clipped", "labelled & ~_held(batch)", "labelled"),
    truncated("counts from nowhere", 'batch.require("soft_logp") - batch.stats["old_soft"]', 'batch.require("soft_logp")'),
)  # fmt: skip
