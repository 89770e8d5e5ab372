"""Faults of trainers/: of the seams, the normaliser, the rollouts and what joins the forward pass."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

SEAMS = (
    "tests/contract/test_seams.py",
    "tests/contract/test_terms_in_loss.py",
    "tests/contract/test_variants.py",
    "tests/contract/test_losses.py",
)
EXTRA = ("tests/contract/test_extra.py",)
LOG = ("tests/contract/test_trl_log.py",)
LIVE = (*SEAMS, *EXTRA, "tests/contract/test_vocabulary.py")


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = LIVE) -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"{file}.py", old, new, tests, "trainers")


TRAINERS = (
    fault("keeps tool output", "trl/aggregation", 'mask * inputs["tool_mask"]', "mask"),
    fault("forgets the ranks' share", "trl/aggregation", "/ trainer.args.steps_per_generation if", "if"),
    fault("adds the penalty twice", "seams", "loss = loss if extra is None else loss + extra", "loss = loss + 2 * extra"),
    fault("subtracts the penalties", "seams", "else loss + extra", "else loss - extra"),
    fault("forgets the weights", "seams", "passed.batch.token_advantages * passed.weight", "passed.batch.token_advantages"),
    fault("keeps TRL's KL", "trl/own_loss", '{"beta": 0.0} if self.owns_reference', '{"beta": 0.0} if False'),
    fault("leaves its scalars behind", "trl/own_loss", "for name, value in before.items():", "for name, value in {}.items():"),
    fault("changes TRL's buffer", "seams", "LossPass(dict(inputs))", "LossPass(inputs)"),
    fault("forgets the accumulation", "trl/loss_pass", "value = value / steps", "value = value"),
    fault("weights penalties that are none of the policy's", "trl/loss_pass", "and part.term.policy_term else", "else"),
    fault("loses the old entropy", "trl/scoring", '{"old_entropy": entropy, **statistics}', '{"old_entropy": 0 * entropy, **statistics}'),
    fault("samples at the training temperature", "trl/sampling", "setattr(owner, name, value)", "setattr(owner, name, getattr(owner, name))", EXTRA),
    fault("leaves its temperature behind", "trl/sampling", "setattr(owner, name, old)", "setattr(owner, name, value)", EXTRA),
    fault("logs the second rollout", "trl/sampling", "trainer._metrics[mode].update(metrics)", "trainer._metrics[mode].update({})", EXTRA),
    fault("cuts groups", "trl/sampling", "if rows % group:", "if False:", EXTRA),
    fault("takes the wrong rows", "rollout/extra", "chosen = weights.nonzero()[:, 0]\n    fields", "chosen = (1 - weights).nonzero()[:, 0]\n    fields", EXTRA),
    fault("forgets the mask", "rollout/extra", '"loss_mask": completion_mask(drawn)', '"loss_mask": drawn["prompt_mask"]', EXTRA),
    fault("gives TRL the extra rows", "rollout/extra", "return values[: self.rows, : self.keep]", "return values[-self.rows :, : self.keep]", EXTRA),
    fault("scores padding", "rollout/extra", 'mine["prompt_mask"], mine["completion_mask"], 0', 'mine["prompt_mask"], mine["completion_mask"], 1', EXTRA),
    fault("forgets the slices", "rollout/rollouts", "tokens / trainer.args.steps_per_generation", "tokens", EXTRA),
    fault("gives TRL the ratio", "trl/own_loss", 'inputs.pop("old', 'inputs.get("old', LOG),
    fault("keeps TRL's clip shares", "trl/own_loss", 'if key.startswith("clip_ratio/")', "if False", LOG),
    fault("counts what a weight takes out", "trl/own_loss", "batch if weight is None else", "batch if True else", LOG),
    fault("forgets what TRL's policy loss lacks", "trl/own_loss", "added.item()", "0.0", LOG),
    fault("shares the policy loss out twice", "trl/own_loss", "trainer.loss_type not in SUMMED", "trainer.loss_type in SUMMED", LOG),
    fault("takes the largest low share", "trl/own_loss", "-share[0], share[1]", "share[0], share[1]", LOG),
    Mutant("bounds takes the wrong side", "bounds.py", "(a < 0) & (ratio < low)", "(a > 0) & (ratio < low)", LOG, "rl"),
)  # fmt: skip
