"""Faults of the losses and masks on the sampler's log-probs, and of their way to the terms."""

from __future__ import annotations

from mutation.mutants import Mutant

HAND = ("tests/unit/test_rl_mismatch.py", "tests/unit/test_rl_properties.py")
SEAM = ("tests/contract/test_sampler_logps.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = HAND) -> Mutant:
    return Mutant(f"{file.rpartition('/')[2]} {name}", f"{file}.py", old, new, tests)


def seam(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"{file.rpartition('/')[2]} {name}", f"{file}.py", old, new, SEAM, "trainers")


RATIOS = (
    fault("turns the ratio round", "mismatch", "batch.reference_logps - batch", "-batch.reference_logps + batch"),
    fault("lets padding in", "mismatch", "batch.valid & ~d.isnan(), d", "~d.isnan(), d"),
    fault("lets unknown tokens be NaN", "mismatch", "batch.valid & ~d.isnan(), d", "batch.valid, d"),
    fault("gives an impossible token the bound", "mismatch", "(d.isinf(), 0.0, d.clamp", "(d.isnan(), 0.0, d.clamp"),
    fault("takes a completion along", "mismatch", "finite = torch.where(d.isinf(), 0.0, d)", "finite = d.clamp(-9, 9)"),
    fault("has one window", "mismatch", 'if window == "product"', "if True"),
    fault("opens the low end", "mismatch", "kept & (ratio >= low)", "kept"),
    fault("opens the high end", "mismatch", "kept & (ratio <= high)", "kept"),
    fault(
        "measures against nothing",
        "mismatch",
        "(sampled.isnan(), batch.reference_logps, sampled)",
        "(False, 0, sampled)",
    ),
    fault("always takes the sampler", "mismatch", 'if which == "old"', "if False"),
)
WEIGHTS = (
    fault("drops the ratio", "weights/icepop", "torch.where(kept, ratio, 0.0)", "kept.to(ratio.dtype)"),
    fault("cuts nothing off", "weights/truncated_is", "weight.clamp(max=self.cap)", "weight"),
    fault("has no floor", "weights/truncated_is", "ratio.clamp(min=self.low)", "ratio"),
    fault("has no sequences", "weights/truncated_is", '(sequence_log_ratio(d, "product", batch), self', "(d, self"),
    fault(
        "weighs rows by length",
        "weights/truncated_is",
        "weight[:, :1], batch.valid.any(1, keepdim=True)",
        "weight, batch.mask",
    ),
    fault("keeps its size", "weights/truncated_is", "weight / batch.stats", "weight * batch.stats"),
    fault("keeps all", "weights/sequence_mask", "torch.where(kept, ratio, 0.0)", "ratio"),
    fault(
        "carries the other ratio", "weights/sequence_mask", 'if self.carries == "token"', 'if self.carries != "token"'
    ),
    fault("forgets a direction", "weights/rejection", "d.square() / 2", "d.clamp(min=0).square() / 2"),
    fault("has another k3", "weights/rejection", "d.expm1() - d}", "d.expm1() + d}"),
    fault("sums for a mean", "weights/rejection", "row_mean(k, batch)", "k.sum(1, keepdim=True)"),
    fault("takes the smallest", "weights/rejection", "k.amax(", "k.amin("),
    fault("drops the right", "weights/off_policy_mask", "(batch.token_advantages < 0)", "(batch.token_advantages > 0)"),
    fault("drops what is near", "weights/off_policy_mask", "distance > self.threshold", "distance < self.threshold"),
    fault("drops A = 0", "weights/off_policy_mask", "(batch.token_advantages < 0)", "(batch.token_advantages <= 0)"),
)
LOSSES = (
    fault("pushes the wrong way", "losses/dppo", "0.0, -batch.token_advantages", "0.0, batch.token_advantages"),
    fault("drops what comes back", "losses/dppo", "(a > 0) & (p > q)", "(a > 0)"),
    fault("has one bound", "losses/dppo", "in (self.low, self.high))", "in (self.high, self.high))"),
    fault("has no cap", "losses/dppo", "ratio.clamp(max=self.cap)", "ratio"),
    fault("has one divergence", "losses/dppo", 'if self.divergence == "tv"', "if True"),
    fault("turns its KL round", "losses/dppo", "q * (log_q - log_p)", "p * (log_p - log_q)"),
    fault("has one value", "losses/dppo", 'if self.value == "score"', "if False"),
    fault(
        "does not drop", "losses/ipo", "torch.where(dropped, 0.0, -batch", "torch.where(dropped & False, 0.0, -batch"
    ),
    fault("does not pull", "losses/ipo", "+ self.square * square", ""),
    fault("pushes away", "losses/dro", "+ self.beta / 2", "- self.beta / 2"),
    fault("pulls twice as hard", "losses/dro", "self.beta / 2 * square", "self.beta * square"),
)
WAY = (
    fault("corrects no policy term", "objective", "part.term.corrects_sampler:", "False:", SEAM),
    seam(
        "loses the sampler in the loss",
        "trl/batches",
        "inputs.get(SAMPLED, logps.detach()",
        'inputs.get("", logps.detach()',
    ),
    seam("loses the sampler of a generation", "trl/batches", "output.get(SAMPLED, old_logps)", "old_logps"),
    seam("takes the current policy for the sampler", "trl/batches", " if old_logps is None else old_logps)", ")"),
    seam("corrects twice", "trl/config", "if correctors and args.use_vllm and", "if False and"),
)
