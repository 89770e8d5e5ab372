"""Faults of the PPO trainer and its critic."""

from __future__ import annotations

from mutation.mutants import Mutant

PARITY = ("tests/contract/test_ppo_parity.py",)
OWN = ("tests/contract/test_ppo.py",)
FILES = ("tests/contract/test_ppo_files.py",)
KILL = ("tests/e2e/test_kill_ppo.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return Mutant(f"{file} {name}", f"{file}.py", old, new, tests, "trainers")


PPO = (
    fault("subtracts the value loss", "ppo", "else total + loss", "else total - loss", PARITY),
    fault("reads the state after the token", "ppo", 'armed["values"][:, :-1]', 'armed["values"][:, 1:]', PARITY),
    fault("clips against the state after", "ppo", "inputs[VALUES][:, :-1]", "inputs[VALUES][:, 1:]", PARITY),
    fault("forgets its coefficient", "ppo", "loss: Tensor = block.coef * losses.sum()", "loss: Tensor = losses.sum()", PARITY),
    fault("forgets the accumulation", "ppo", '(batch.require("tokens") * steps)', 'batch.require("tokens")', PARITY),
    fault("takes its own mean", "ppo", '(batch.require("tokens") * steps)', "(batch.count * steps)", PARITY),
    fault("adds up the heads", "ppo", "losses, moved = losses.mean(-1)", "losses, moved = losses.sum(-1)", PARITY),
    fault("always learns per head", "ppo", "if not block.per_head:", "if False:", PARITY),
    fault("never learns per head", "ppo", "if not block.per_head:", "if True:", PARITY),
    fault("learns from the padding", "ppo", "inputs[RETURNS], batch.mask,", "inputs[RETURNS], torch.ones_like(batch.mask),", PARITY),
    fault("detaches the values", "ppo", "values, old = self._combined(values), self", "values, old = self._combined(values.detach()), self", PARITY),
    fault("takes the other returns", "ppo", "_, output[RETURNS] = self", "output[RETURNS], _ = self", PARITY),
    fault("trusts every end", "ppo", "truncated=truncated(self, output)", "truncated=torch.zeros_like(truncated(self, output))", PARITY),
    fault("lets the first head decide", "ppo", "return combine(values, self", "return combine(values[..., :1], self", PARITY),
    fault("keeps extra rows", "ppo", "values[: joined.rows, : joined.keep + 1]", "values", OWN),
    fault("takes any estimator", "ppo", 'if first != "gae":', "if False:", OWN),
    fault("replaces rows", "ppo", "sampler is not None and sampler.term.replaces", "False", OWN),
    fault("copies adapters", "ppo", "is_peft_model(self.model) and self", "False and self", OWN),
    fault("lets TRL move the reference", "ppo", 'and kwargs["args"].sync_ref_model:', "and False:", OWN),
    fault("runs under FSDP", "ppo", "if self.is_fsdp_enabled:", "if False:", OWN),
    fault("judges the padding", "ppo", "torch.where(batch.valid, series, 0.0)", "series", OWN),
    fault("forgets the mean error", "ppo", "e2 / count - (e / count) ** 2", "e2 / count", OWN),
    fault("divides by nothing", "ppo", "0.0 if spread <= 1e-12 else 1", "1", OWN),
    fault("starts a new critic each time", "ppo", "if (start / FILE).is_file():", "if False:", FILES),
    fault("sends the critic to vLLM", "ppo", "if self.use_vllm:", "if False:", FILES),
    fault("has one learning rate", "ppo", "self.critic_block.learning_rate or self", "self", FILES),
    fault("leaves the critic where it was", "ppo", "if self._muon is None and not", "if False and not", FILES),
    fault("decays the critic", "ppo", '"lr": self._critic_rate, "weight_decay": 0.0}', '"lr": self._critic_rate, "weight_decay": 1.0}', FILES),
    fault("saves the critic in the policy", "ppo", "with self._values.apart():", "if True:", FILES),
    fault("forgets the critic on resume", "ppo", "self._values.load(Path(checkpoint))", "pass", KILL),
)  # fmt: skip

CRITIC = (
    fault("stays out of the output", "critic", "CriticOutput(**output, state_values=values)", "output", OWN),
    fault("shadows a method of the output", "critic", "state_values: Tensor | None", "values: Tensor | None", OWN),
    fault("reads the scaled states", "critic", ", prepend=True", ", prepend=False", OWN),
    fault("looks one token too early", "critic", "values[:, -length - 1 :]", "values[:, -length - 2 : -1]", PARITY),
    fault("keeps what was taken", "critic", "found, self._found = self._found, []", "found = self._found", PARITY),
    fault("forgets to come back", "critic", "self.model.add_module(NAME, self.critic)\n\n    # ", "pass\n\n    # ", FILES),
    fault("loads any form", "critic", "if theirs != ours:", "if False:", FILES),
    fault("decays values", "critic", '"lr": learning_rate, "weight_decay": 0.0', '"lr": learning_rate, "weight_decay": 1.0', FILES),
    fault("adds a group again", "critic", 'set(group["params"]) == mine', "False", FILES),
    fault("takes a part for the whole", "critic", 'set(group["params"]) == mine', 'set(group["params"]) <= mine and group["params"]', FILES),
    fault("gives vLLM all", "critic", "if NAME not in name.split", "if True or name.split", FILES),
    fault("trains the backbone", "critic_heads", "states = states.detach()", "pass", OWN),
    fault("never trains the backbone", "critic_heads", "elif self.detach:", "else:", OWN),
    fault("reads the policy's trunk", "critic_heads", "states = self.trunk(", "_ = self.trunk(", PARITY),
    fault("draws from the run's numbers", "critic_heads", "with torch.random.fork_rng(devices=[]):", "if True:", OWN),
    fault("starts large", "critic_heads", "std=block.init / inner**0.5", "std=block.init", OWN),
    fault("freezes its copy", "critic_heads", "requires_grad_(True)", "requires_grad_(False)", PARITY),
    fault("copies the hooks", "critic_heads", ", {id(backbone._forward_hooks): OrderedDict()})", ")", OWN),
    fault("forgets its norm", "critic_heads", "states = self.norm(states.to(dtype))", "states = states.to(dtype)", PARITY),
    fault("rounds with the policy", "critic_heads", "torch.promote_types(model.dtype, torch.float32)", "model.dtype", OWN),
    fault("lets autocast round", "critic_heads", "enabled=False):", "enabled=True):", OWN),
    fault("needs a second completion", "ppo_config", "if group == 1:", "if False:", OWN),
    fault("forgets the group it was given", "ppo_config", "self.num_generations = group\n", "pass\n", OWN),
    fault("gives the critic to Muon", "optimizers", "isinstance(module, nn.Embedding | Critic)", "isinstance(module, nn.Embedding)", FILES),
    fault("wants a reference of the critic", "anchor", "for name, p in policy.named_parameters() if name in reference]", "for name, p in policy.named_parameters()]", FILES),
)  # fmt: skip
