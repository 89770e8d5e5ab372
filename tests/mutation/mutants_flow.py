"""Faults of FlowRL, of the head for log Z, and of RankMe in live runs."""

from __future__ import annotations

from mutation.mutants import Mutant, fault

UNIT = ("tests/unit/test_rl_flow.py", "tests/theory/test_theory_flow.py", "tests/unit/test_rl_properties.py")
LIVE = ("tests/contract/test_log_z.py",)
RANK = ("tests/contract/test_hidden_rank.py",)


def flow(name: str, old: str, new: str) -> Mutant:
    return fault(name, "rl/losses/flowrl", old, new, UNIT)


FLOW = (
    flow("turns the reward round", "away - self.beta *", "away + self.beta *"),
    flow("forgets the reference", 'batch.difference(batch.require("ref_logps"), FAR), batch, DIVISOR)', "batch.difference(batch.logps.detach() * 0, FAR), batch, DIVISOR)"),
    flow("sums where it means", "away = row_mean(", "away = len(batch.mask[0]) * row_mean("),
    flow("weighs without bound", ".clamp(max=math.log(self.cap)).exp()", ".clamp(max=50.0).exp()"),
    flow("weighs by the mean ratio", "batch.log_ratio.sum(1, keepdim=True)", "row_mean(batch.log_ratio, batch)"),
    flow("lets the weight learn", "torch.where(there, weight, 0.0).detach()", "torch.where(there, weight, 0.0)"),
    flow("teaches log Z nothing", "log_z - log_z.detach() +", "0.0 * log_z +"),
    flow("teaches the policy nothing", "(moved - moved.detach())", "0.0 * moved"),
    flow("reads what lies in empty rows", 'torch.where(there, batch.require("log_z"), 0.0).unsqueeze(1)', 'batch.require("log_z").unsqueeze(1)'),
    flow("trains padding", "torch.where(batch.valid, weight * (delta + step).square(), 0.0)", "weight * (delta + step).square()"),
    flow("counts empty rows", "Mean.over(value, there)", "Mean.over(value, torch.ones_like(there))"),
)  # fmt: skip

HEAD = (
    fault("reads the padding", "trainers/model/partition_tap", "(states * there).sum(1)", "states.sum(1)", LIVE),
    fault("counts the padding", "trainers/model/partition_tap", "/ there.sum(1).clamp(min=1)", "/ there.size(1)", LIVE),
    fault("reads the completion", "trainers/model/partition_tap", "self.head(states[:, : self._prompt], kwargs[\"attention_mask\"][:, : self._prompt])", 'self.head(states, kwargs["attention_mask"])', LIVE),
    fault("trains the backbone", "trainers/model/partition_tap", "states.detach() if self.form.detach else states", "states", LIVE),
    fault("never trains the backbone", "trainers/model/partition_tap", "states.detach() if self.form.detach else states", "states.detach()", LIVE),
    fault("rounds with the policy", "trainers/model/partition_tap", "self.to(model.device, torch.promote_types(model.dtype, torch.float32))", "self.to(model.device, model.dtype)", LIVE),
    fault("draws from the run's numbers", "trainers/model/partition_tap", "with torch.random.fork_rng(devices=[]):", "if True:", LIVE),
    fault("reads in every forward", "trainers/partition", "if self.owner is None or passed is None:", "if self.owner is None:", LIVE),
    fault("keeps extra rows", "trainers/partition", "log_z if joined is None else log_z[: joined.rows]", "log_z + 0", LIVE),
    fault("is above suspicion", "trainers/partition", 'passed.suspects["log_z"] = log_z', "pass", LIVE),
    fault("lets TRL move the reference", "trainers/partition", "if trainer.args.sync_ref_model:", "if False:", LIVE),
    fault("runs under FSDP", "trainers/partition", "if trainer.is_fsdp_enabled:", "if False:", LIVE),
    fault("learns beside a critic", "trainers/ppo", 'if "log_z" in control.template.needs:', "if False:", LIVE),
    fault("owns no log Z", "trainers/run_seams", "(self.critic, self.partition.owner)", "(self.critic,)", LIVE),
)  # fmt: skip

HIDDEN = (
    fault("looks at padding", "trainers/watch/hidden", "[mask.bool()]", "[torch.ones_like(mask).bool()]", RANK),
    fault("looks at rows that joined", "trainers/watch/hidden", "torch.cat(states)[:rows, :length]", "torch.cat(states)[-rows:, :length]", RANK),
    fault("takes more than its share", "trainers/watch/hidden", "wanted = min(wanted, self.share - sum(map(len, self._taken)))", "pass", RANK),
    fault("takes the first tokens", "trainers/watch/hidden", "(torch.arange(wanted, device=found.device) * len(found)) // max(wanted, 1)", "torch.arange(wanted, device=found.device)", RANK),
    fault("goes on looking", "trainers/watch/hidden", "self.on, self._taken = False, []", "self._taken = []", RANK),
    fault("breaks on no number", "trainers/watch/hidden", " and bool(every.isfinite().all())", "", RANK),
    fault("looks at every generation", "trainers/watch/monitors", "            if self._watching(batch.generation):\n                self.hidden.begin()", "            self.hidden.begin()", RANK),
)  # fmt: skip
