"""Faults of the PPO trainer and its critic."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

PARITY = ("tests/contract/test_ppo_parity.py",)
OWN = (
    "tests/contract/test_ppo.py",
    "tests/contract/test_ppo_settings.py",
)
FILES = ("tests/contract/test_ppo_files.py",)
KILL = ("tests/e2e/test_kill_ppo.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"{file}.py", old, new, tests, "trainers")


PPO = (
    fault("subtracts the value loss", "seams", "else total + loss", "else total - loss", PARITY),
    fault("reads the state after the token", "critic", "passed.values[:, :-1]", "passed.values[:, 1:]", PARITY),
    fault("clips against the state after", "critic", "inputs[VALUES][:, :-1]", "inputs[VALUES][:, 1:]", PARITY),
    fault("forgets its coefficient", "critic", "return block.coef * losses.sum()", "return losses.sum()", PARITY),
    fault("forgets the accumulation", "critic", 'batch.require("tokens") * micro_batches(self.trainer)', 'batch.require("tokens")', PARITY),
    fault("takes its own mean", "critic", 'scale = batch.require("tokens") *', "scale = batch.count *", PARITY),
    fault("adds up the heads", "critic", "losses, moved = losses.mean(-1)", "losses, moved = losses.sum(-1)", PARITY),
    fault("always learns per head", "critic", "if not block.per_head:", "if False:", PARITY),
    fault("never learns per head", "critic", "if not block.per_head:", "if True:", PARITY),
    fault("learns from the padding", "critic", "inputs[RETURNS], batch.mask,", "inputs[RETURNS], torch.ones_like(batch.mask),", PARITY),
    fault("detaches the values", "critic", "values, old = self.combined(values), self", "values, old = self.combined(values.detach()), self", PARITY),
    fault("takes the other returns", "critic", "_, output[RETURNS] = first", "output[RETURNS], _ = first", PARITY),
    fault("trusts every end", "trl/described", 'found["truncated"] = truncated(self.trainer, output)', 'found["truncated"] = torch.zeros_like(truncated(self.trainer, output))', PARITY),
    fault("lets the first head decide", "critic", "return combine(values, self", "return combine(values[..., :1], self", PARITY),
    fault("keeps extra rows", "critic", "values[: joined.rows, : joined.keep + 1]", "values", OWN),
    fault("takes any estimator", "ppo", 'if first != "gae":', "if False:", OWN),
    fault("replaces rows", "ppo", "sampler is not None and sampler.term.replaces", "False", OWN),
    fault("copies adapters", "ppo", "is_peft_model(self.model) and block", "False and block", OWN),
    fault("lets TRL move the reference", "ppo", 'and kwargs["args"].sync_ref_model:', "and False:", OWN),
    fault("runs under FSDP", "ppo", "if self.is_fsdp_enabled:", "if False:", OWN),
    fault("judges the padding", "critic", "torch.stack(list(series.values())).masked_fill_(batch.invalid, 0.0)", "torch.stack(list(series.values()))", OWN),
    fault("forgets the mean error", "critic", 'mean["error_square"] - mean["error"] ** 2', 'mean["error_square"]', OWN),
    fault("divides by nothing", "critic", "0.0 if spread <= 1e-12 else 1", "1", OWN),
    fault("starts anew each time", "head", "if (folder / tap.file).is_file():", "if False:", FILES),
    fault("goes to vLLM", "head", "if trainer.use_vllm:", "if False:", FILES),
    fault("has one learning rate", "head", "self._stated or self", "self", FILES),
    fault("leaves the heads where they were", "run_seams", "if self.muon is None:", "if False:", FILES),
    fault("decays", "head", '"lr": self._rate, "weight_decay": 0.0}', '"lr": self._rate, "weight_decay": 1.0}', FILES),
    fault("saves the heads in the policy", "run_seams", "stack.enter_context(head.apart())", "pass", FILES),
    fault("forgets the heads on resume", "run_seams", "head.load(Path(checkpoint))", "pass", KILL),
)  # fmt: skip

CRITIC = (
    fault("stays out of the output", "model/critic_tap", "CriticOutput(**output, state_values=values)", "output", OWN),
    fault("shadows a method of the output", "model/critic_tap", "state_values: Tensor | None", "values: Tensor | None", OWN),
    fault("reads the scaled states", "model/critic_tap", ", prepend=True", ", prepend=False", OWN),
    fault("looks one token too early", "model/critic_tap", "values[:, -length - 1 :]", "values[:, -length - 2 : -1]", PARITY),
    fault("keeps what was taken", "model/critic_tap", "passes, self._found = self._found, []", "passes = self._found", ("tests/contract/test_ppo.py",)),
    fault("forgets to come back", "model/head_tap", "            self.model.add_module(self.name, self.head)", "            pass", FILES),
    fault("loads any form", "model/head_tap", "if theirs != ours:", "if False:", FILES),
    fault("decays values", "model/head_tap", '"lr": learning_rate, "weight_decay": 0.0', '"lr": learning_rate, "weight_decay": 1.0', FILES),
    fault("adds a group again", "model/head_tap", 'set(group["params"]) == mine', "False", FILES),
    fault("takes a part for the whole", "model/head_tap", 'set(group["params"]) == mine', 'set(group["params"]) <= mine and group["params"]', FILES),
    fault("gives vLLM all", "model/head_tap", "if head not in name.split", "if True or name.split", FILES),
    fault("trains the backbone", "model/critic_heads", "states = states.detach()", "pass", OWN),
    fault("never trains the backbone", "model/critic_heads", "elif self.detach:", "else:", OWN),
    fault("reads the policy's trunk", "model/critic_heads", "states = self.trunk(", "_ = self.trunk(", PARITY),
    fault("draws from the run's numbers", "model/critic_heads", "with torch.random.fork_rng(devices=[]):", "if True:", OWN),
    fault("starts large", "model/critic_heads", "std=block.init / inner**0.5", "std=block.init", OWN),
    fault("freezes its copy", "model/critic_heads", "requires_grad_(True)", "requires_grad_(False)", PARITY),
    fault("copies the hooks", "model/critic_heads", ", {id(backbone._forward_hooks): OrderedDict()})", ")", OWN),
    fault("forgets its norm", "model/critic_heads", "states = self.norm(states.to(dtype))", "states = states.to(dtype)", PARITY),
    fault("rounds with the policy", "model/critic_heads", "torch.promote_types(model.dtype, torch.float32)", "model.dtype", OWN),
    fault("lets autocast round", "model/critic_heads", "enabled=False):", "enabled=True):", OWN),
    fault("needs a second completion", "trl/ppo_config", "if group == 1:", "if False:", OWN),
    fault("forgets the group it was given", "trl/ppo_config", "self.num_generations = group\n", "pass\n", OWN),
    fault("gives the critic to Muon", "optim/muon", "isinstance(module, nn.Embedding | Head)", "isinstance(module, nn.Embedding)", FILES),
    fault("wants a reference of the critic", "state/anchor", "for name, p in policy.named_parameters() if name in reference]", "for name, p in policy.named_parameters()]", FILES),
)  # fmt: skip
