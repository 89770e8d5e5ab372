"""Faults of the reference policy that moves."""

from __future__ import annotations

from mutation.mutants import Mutant

OWN = ("tests/contract/test_anchor.py", "tests/contract/test_anchor_refused.py", "tests/e2e/test_resume.py")


def fault(name: str, old: str, new: str, file: str = "trainers/state/anchor.py") -> Mutant:
    folder, _, file = file.partition("/")
    return Mutant(f"anchor {name}", file, old, new, OWN, folder)


TERM = "rl/penalties/kl_ref.py"
ANCHOR = (
    fault("follows too fast", "share(policy).to(mean), 1 - decay)", "share(policy).to(mean), decay)"),
    fault("counts the wrong share", "self.initial_share *= decay", "self.initial_share *= 1 - decay"),
    fault("moves on skipped steps", "if not self.trainer.accelerator.optimizer_step_was_skipped:", "if True:"),
    fault("resets a step late", "elif self.age == self.term.every:", "elif self.age == self.term.every + 1:"),
    fault("resets once", "self.resets + 1, 0, 0", "self.resets + 1, self.age, 0"),
    fault("resets at every evaluation", "self.resets + 1, 0, 0", "self.resets + 1, 0, self.stale"),
    fault("takes a tie for a gain", "reached > self.best", "reached >= self.best"),
    fault("takes a loss for a gain", "reached > self.best", "reached < self.best"),
    fault("forgets the gain", "self.best, self.stale = reached, 0", "self.best = reached"),
    fault("reads one set only", "mean = sum(values) / len(values)", "mean = values[0]"),
    fault("lets NaN be the best", "return mean if math.isfinite(mean) else None", "return mean if values else None"),
    fault("rounds the average", "eps <= torch.finfo(torch.float32).eps", "eps <= 1"),
    fault("keeps the average to itself", "            if mean is not target:\n                target.copy_(mean)\n            refresh(reference)\n        self.initial_share", "            refresh(reference)\n        self.initial_share"),
    fault("saves the rounded average", "self._averages.get(name, share(reference))", "share(reference)"),
    fault("saves the policy", "for name, _, reference in self.pairs():\n            tensor", "for name, reference, _ in self.pairs():\n            tensor"),
    fault("restores nothing", "mean.copy_(part)", "mean.copy_(target)"),
    fault("restores no counters", 'if key != "reference":', "if False:"),
    fault("takes over another kind", "if before != now:", "if False:"),
    fault("draws for its adapter", 'with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):', "if True:"),
    fault("starts at another adapter", "reference.data.copy_(policy.data)", "pass"),
    fault("takes any two", "if len({movement(term) for term in terms.values()}) > 1:", "if False:"),
    fault("lets TRL move it too", "if trainer.args.sync_ref_model:", "if False:"),
    fault("lets FSDP pass", "if trainer.is_fsdp_enabled:", "if False:"),
    fault("compares what nothing reads", "reset * term.every", "term.every", TERM),
    fault("waits for ever", 'if self.reference == "reset" and not (self.every or self.patience):', "if False:", TERM),
)  # fmt: skip
