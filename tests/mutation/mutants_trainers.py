"""Faults of trainers/: of the seams, the normaliser, the rollouts and what joins the forward pass."""

from __future__ import annotations

from mutation.mutants import Mutant

SEAMS = ("tests/contract/test_seams.py", "tests/contract/test_variants.py", "tests/contract/test_losses.py")
EXTRA = ("tests/contract/test_extra.py",)
LOG = ("tests/contract/test_trl_log.py",)
LIVE = (*SEAMS, *EXTRA, "tests/contract/test_vocabulary.py")


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = LIVE) -> Mutant:
    return Mutant(f"{file} {name}", f"{file}.py", old, new, tests, "trainers")


TRAINERS = (
    fault("keeps tool output", "normaliser", 'mask * inputs["tool_mask"]', "mask"),
    fault("forgets the ranks' share", "normaliser", "/ trainer.args.steps_per_generation if", "if"),
    fault("adds the penalty twice", "seams", "loss = loss if extra is None else loss + extra", "loss = loss + 2 * extra"),
    fault("subtracts the penalties", "seams", "else loss + extra", "else loss - extra"),
    fault("forgets the weights", "seams", 'batch.token_advantages * weight', "batch.token_advantages"),
    fault("keeps TRL's KL", "trl_pass", '{"beta": 0.0} if self._owns_reference', '{"beta": 0.0} if False'),
    fault("leaves its scalars behind", "trl_pass", "for name, value in before.items():", "for name, value in {}.items():"),
    fault("changes TRL's buffer", "seams", '{"inputs": dict(inputs)', '{"inputs": inputs'),
    fault("forgets the accumulation", "seams", "value = value / steps", "value = value"),
    fault("weights penalties that are none of the policy's", "seams", "and part.term.policy_term else", "else"),
    fault("loses the old entropy", "seams", '{"old_entropy": result[1], **statistics}', '{"old_entropy": 0 * result[1], **statistics}'),
    fault("samples at the training temperature", "sampling", "setattr(owner, name, value)", "setattr(owner, name, getattr(owner, name))", EXTRA),
    fault("leaves its temperature behind", "sampling", "setattr(owner, name, old)", "setattr(owner, name, value)", EXTRA),
    fault("logs the second rollout", "sampling", "trainer._metrics[mode].update(metrics)", "trainer._metrics[mode].update({})", EXTRA),
    fault("cuts groups", "sampling", "if rows % group:", "if False:", EXTRA),
    fault("takes the wrong rows", "extra", "chosen = weights.nonzero()[:, 0]\n    fields", "chosen = (1 - weights).nonzero()[:, 0]\n    fields", EXTRA),
    fault("forgets the mask", "extra", '"loss_mask": completion_mask(dict(found))', '"loss_mask": found["prompt_mask"]', EXTRA),
    fault("gives TRL the extra rows", "extra", "return values[: self.rows, : self.keep]", "return values[-self.rows :, : self.keep]", EXTRA),
    fault("scores padding", "extra", 'mine["prompt_mask"], mine["completion_mask"], 0', 'mine["prompt_mask"], mine["completion_mask"], 1', EXTRA),
    fault("keeps the rewards of the second rollout", "rollouts", "again, trainer._rewards_per_func = trainer._rewards_per_func, rewards", "again = rewards", EXTRA),
    fault("forgets the slices", "rollouts", "tokens / trainer.args.steps_per_generation", "tokens", EXTRA),
    fault("gives TRL the ratio", "trl_pass", 'inputs.pop("old', 'inputs.get("old', LOG),
    fault("keeps TRL's clip shares", "trl_pass", 'if key.startswith("clip_ratio/")', "if False", LOG),
    fault("counts what a weight takes out", "trl_pass", "batch if weight is None else", "batch if True else", LOG),
    fault("forgets what TRL's policy loss lacks", "trl_pass", "added.item()", "0.0", LOG),
    fault("shares the policy loss out twice", "trl_pass", "self.loss_type not in SUMMED", "self.loss_type in SUMMED", LOG),
    fault("takes the largest low share", "trl_pass", "-share[0], share[1]", "share[0], share[1]", LOG),
    Mutant("bounds takes the wrong side", "bounds.py", "(a < 0) & (ratio < low)", "(a > 0) & (ratio < low)", LOG, "rl"),
)  # fmt: skip
