"""Faults of the advantages that are reshaped by sign or entropy, and of the weights STEER and Clip_B."""

from __future__ import annotations

from mutation.mutants import RANKS, Mutant

OWN = (
    "tests/unit/test_rl_reshaping.py",
    "tests/theory/test_theory_reshaping.py",
    "tests/unit/test_rl_properties.py",
    "tests/unit/test_rl_declared.py",
)
GOLDEN = (*OWN, "tests/golden")


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = OWN) -> Mutant:
    return Mutant(f"{file} {name}", f"{FOLDER[file]}/{file}.py", old, new, tests)


FOLDER = dict.fromkeys(
    ("w_reinforce", "entropy_shaped", "entrocraft", "entropic", "edge", "qae", "passk"), "advantages"
) | {"clip_b": "weights", "clip_v": "weights", "steer": "weights"}

SHAPERS = (
    fault("rewards the wrong", "w_reinforce", "rewards > self.threshold", "rewards < self.threshold"),
    fault("does not punish", "w_reinforce", "rewards, -self.negative", "rewards, self.negative"),
    fault("punishes the unscored", "w_reinforce", "torch.where(rewards.isnan(), 0.0, advantages)", "advantages"),
    fault("takes entropy away", "entropy_shaped", "return a + bonus", "return a - bonus"),
    fault("has no bound", "entropy_shaped", "a.abs() / self.kappa", "a.abs() * 1e9"),
    fault(
        "shapes padding",
        "entropy_shaped",
        "torch.where(batch.valid, batch.token_advantages, 0.0)",
        "batch.token_advantages",
    ),
    fault(
        "swaps its sides",
        "entrocraft",
        "rewards.clamp(min=0), torch.where(below, rewards.clamp(max=0)",
        "rewards.clamp(max=0), torch.where(below, rewards.clamp(min=0)",
    ),
    fault("closes its band", "entrocraft", "entropy > self.upper", "entropy >= self.upper"),
    fault("forgets the centre", "entrocraft", "- self.center)", "- 0.0)"),
    fault(
        "lets NaN out",
        "entrocraft",
        'torch.nan_to_num(self.gain * (batch.require("rewards") - self.center), nan=0.0)',
        'self.gain * (batch.require("rewards") - self.center)',
    ),
    fault("tilts the other way", "entropic", "(1 + alpha) * a, (1 - alpha) * a", "(1 - alpha) * a, (1 + alpha) * a"),
    fault("is not cut below", "entropic", "max(self.alpha, -self.bound)", "self.alpha"),
    fault("multiplies by the entropy", "edge", "mean / entropy.clamp(min=1e-12)", "entropy / mean.clamp(min=1e-12)"),
    fault("counts the unscored", "edge", '& ~batch.require("rewards").isnan()', ""),
    fault("has no cap", "edge", "factor.clamp(max=self.cap)", "factor"),
    fault("stays on its rank", "edge", "batch.reducer.sum(own)", "own", RANKS),
    fault("takes the quantile above", "qae", ".long() - 1", ".long()"),
    fault("adds the baseline", "qae", "rewards - baseline", "rewards + baseline"),
    fault("rounds up what is whole", "qae", ".double() - 1e-9)", ".double() + 1e-9)"),
    fault("never divides", "qae", 'self.scale == "group"', "False"),
    fault("forgets the subsets of the others", "passk", "(failed - others) / spread", "failed / spread"),
    fault(
        "draws with the completion itself",
        "passk",
        "_subsets(n - c - 1, k - 1, n - 1)",
        "_subsets(n - c, k - 1, n - 1)",
    ),
    fault("punishes the hopeless", "passk", "scored & (c > 0).unsqueeze(1)", "scored"),
    fault("keeps k in small groups", "passk", "n.clamp(max=self.k)", "torch.full_like(n, self.k)"),
)

FILTERS = (
    fault("is not centred", "clip_v", "centre - discriminator", "0 * centre - discriminator", ("tests/golden",)),
    fault("drops the other end", "clip_v", "d > self.mu * std", "d < -self.mu * std", ("tests/golden",)),
    fault(
        "drops rewarded tokens",
        "clip_v",
        "(batch.token_advantages < 0)",
        "(batch.token_advantages > 0)",
        ("tests/golden",),
    ),
    fault("forgets its cap", "clip_v", "> self.max_fraction * float(count):", "> float(count):", ("tests/golden",)),
    fault("drops positive tokens", "clip_b", "(batch.token_advantages < 0)", "(batch.token_advantages > 0)"),
    fault("drops the likely", "clip_b", "s - mean < -self.mu * std", "s - mean > self.mu * std"),
    fault("forgets the mean", "clip_b", "(s - mean < -", "(s < -"),
    fault("keeps the dropped", "clip_b", '(~stats["dropped"])', 'stats["dropped"]'),
    fault("divides by all", "clip_b", 'self.denominator == "kept"', "False"),
    fault("reads the new entropy", "clip_b", 'self.scope == "rollout" and', "False and"),
    fault("speeds up", "steer", "math.log(self.lambda_min) * share", "-math.log(self.lambda_min) * share"),
    fault("has no least weight", "steer", ".clamp(min=self.lambda_min, max=1.0)", ".clamp(max=1.0)"),
    fault("forgets the clip", "steer", "if batch.clip is not None:", "if False:", GOLDEN),
    fault("forgets the floor", "steer", "largest.clamp(min=self.floor)", "largest", GOLDEN),
    fault("turns its line", "steer", "self.lambda_max - share", "self.lambda_min + share", GOLDEN),
    fault("stays on its rank", "steer", "batch.reducer.gather(", "(", RANKS),
)

RULE = tuple(
    Mutant(f"entropic rule {name}", "controllers/entropic.py", old, new, OWN)
    for name, old, new in (
        ("turns its error", "measured - target", "target - measured"),
        (
            "adds before it reads",
            'self.kp * error + state["integral"]',
            'self.kp * error + state["integral"] + self.ki * error',
        ),
        ("winds up", "min(max(integral, -self.limit), self.limit)", "integral"),
        (
            "forgets on a missing signal",
            "return missing({**state, **remembered})",
            "return {**state, **remembered}, 0.0",
        ),
    )
)
