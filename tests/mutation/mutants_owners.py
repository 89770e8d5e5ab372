"""Faults of the thermostat, of the owners that the seams hand over to, and of the order in which they are asked."""

from __future__ import annotations

from mutation.mutants import Mutant, fault

LOOP = ("tests/unit/test_thermostat.py", "tests/unit/test_signals.py", "tests/unit/test_rl_measured.py")
SIGNALS = (*LOOP, "tests/contract/test_signals.py")
PASS = ("tests/contract/test_loss_pass.py",)
LOSSES = (
    "tests/contract/test_seams.py",
    "tests/contract/test_terms_in_loss.py",
    "tests/contract/test_losses.py",
    "tests/contract/test_monitors.py",
)
FAULTY = ("tests/contract/test_nonfinite.py",)
LOG = ("tests/contract/test_nothing_measured.py", "tests/contract/test_trl_log.py")
SCORED = ("tests/contract/test_variants.py", "tests/contract/test_vocabulary.py", "tests/contract/test_signals.py")
EXTRA = ("tests/contract/test_extra.py",)
SAVING = ("tests/contract/test_saving.py",)
SCALARS = ("tests/contract/test_scalars.py",)
MONITORS = ("tests/contract/test_monitors.py",)
PARITY = ("tests/contract/test_ppo_parity.py",)
PPO = (
    "tests/contract/test_ppo.py",
    "tests/contract/test_ppo_settings.py",
)
PPO_FILES = ("tests/contract/test_ppo_files.py",)
GIVEN = (
    "tests/contract/test_constructor.py",
    "tests/contract/test_given_optimizer.py",
)


def thermostat(name: str, old: str, new: str, tests: tuple[str, ...] = LOOP) -> Mutant:
    return fault(name, "rl/thermostat", old, new, tests)


THERMOSTAT = (
    thermostat("forgets what it holds", "**run, **self.held}", "**run}"),
    thermostat("forgets the metrics of the terms", "**closed.signals, **closed.metrics,", "**closed.signals,", SIGNALS),
    thermostat("keeps its objective", "        self._set_objective()\n\n    def problems", "\n    def problems"),
    thermostat("counts steps as progress", "step / max(steps, 1)", "float(step)"),
    thermostat("loads no signals", 'self.held = dict(saved["signals"])', "pass"),
    thermostat("loads no state", "if path in self.state}", "if False}"),
    thermostat("loads knobs that it does not have", "if path in self.state}", "if True}"),
    thermostat("loads watches that it does not have", "if path in self.watches:", "if True:"),
    thermostat("loads into its old objective", "restore(kept)\n        self._set_objective()", "restore(kept)"),
    thermostat("reads no entropy of the reference", "return bool(self.control.signals & REF_ENTROPY)", "return False", SIGNALS),
    thermostat("always reads the reference's entropy", "return bool(self.control.signals & REF_ENTROPY)", "return True"),
    thermostat("drops the reference's entropy", "ref_entropy if wanted & REF_ENTROPY else None", "None"),
    thermostat("needs no old entropy", "if self.control.signals & OLD_ENTROPY else", "if False else"),
    thermostat("always needs the old entropy", "if self.control.signals & OLD_ENTROPY else", "if True else"),
    thermostat("has no velocity", 'if "reward_velocity" in wanted:', "if False:"),
    thermostat("has a velocity from rest", 'velocity(self.held, measured["reward"])', 'velocity({}, measured["reward"])'),
    thermostat("tells rewards twice", 'for name in wanted - {"reward", "reward_std"}}', "for name in wanted}"),
)  # fmt: skip

WINDOW = tuple(
    fault(name, "rl/window", old, new, SIGNALS)
    for name, old, new in (
        ("keeps what it has closed", "self._names, self._sums = (), []", "pass"),
        ("keeps its pools", "self._pools, self._peaks = self._pools, self._peaks, {}, {}", "self._pools, self._peaks = self._pools, self._peaks, self._pools, self._peaks"),
        ("keeps its extremes", "            self._extremes = []\n", ""),
        ("hears nobody who asks to stop", "asked > 0,", "False,"),
        ("stops when two ask", "asked > 0,", "asked > 1,"),
        ("counts each micro-batch once", 'parts[:, names.index("tokens")]', "torch.ones_like(parts[:, 0])"),
        ("divides sequences by tokens", 'rows if name == "entropy_seq" else tokens', "tokens"),
        ("asks what holds nothing for its bounds", ' and loss.holds != "nothing"', ""),
        ("reads the ratios of its own rank", "reducer.gather(torch.stack(extremes))", "torch.stack(extremes)"),
        ("turns the smallest ratio over", "1 / largest[1]", "largest[1]"),
        ("forgets the metrics", "self._ledger.add(metrics)", "pass"),
    )
)  # fmt: skip


def part(name: str, old: str, new: str, tests: tuple[str, ...] = PASS) -> Mutant:
    return fault(name, "trainers/trl/loss_pass", old, new, tests)


LOSS = (
    part("forgets the weight", "else tokens * passed.weight", "else tokens"),
    part("forgets the sampler's weight", "else tokens * rho", "else tokens"),
    part("keeps no policy part", "tokens = parts[name] = tokens if", "tokens = tokens if"),
    part("keeps no token part", "parts[part.name] = value = value * rho", "value = value * rho"),
    part("keeps no scalar part", "parts[part.name] = value = value / steps", "value = value / steps"),
    part("takes the last scalar", "total = value if total is None else total + value", "total = value"),
    part("takes the last token penalty", "tokens = value if tokens is None else tokens + value", "tokens = value"),
    part("forgets the scalars beside tokens", "reduced if total is None else total + reduced", "reduced"),
    part("forgets the scalars by themselves", "        return total\n    reduced", "        return None\n    reduced"),
    part("forgets what the loss measures", "surrogate(passed.batch)\n        passed.metrics |= metrics\n", "surrogate(passed.batch)\n"),
    part("forgets what penalties measure", "passed.stats)\n        passed.metrics |= metrics\n", "passed.stats)\n"),
    part("suspects no loss", 'passed.suspects[f"loss.{name}"] = tokens', "pass"),
    part("suspects no penalty", 'passed.suspects[f"penalties.{part.name}"] = value', "pass"),
    part("divides an evaluation", "if trainer.model.training else 1.0", "if True else 1.0"),
)  # fmt: skip

OWN_LOSS = tuple(
    fault(name, "trainers/trl/own_loss", old, new, tests)
    for name, old, new, tests in (
        ("keeps TRL's clip range", "if isinstance(loss, Delegated):", "if False:", ("tests/contract/test_seams.py", *LOG)),
        ("gives TRL the advantages", 'passed.inputs["advantages"] = torch.zeros_like(passed.inputs["advantages"])', "pass", LOSSES),
        ("gives TRL the log-probs", "return torch.zeros_like(logps)", "return logps", LOG),
        ("counts what has no token", "torch.where(rows[2] > 0, torch.stack([-share[0], share[1]]), -math.inf)", "torch.stack([-share[0], share[1]])", LOG),
        ("logs no KL of ours", 'if self.owns_reference and "kl" in closed.signals', "if False", LOG),
        ("logs two KLs", 'if self.owns_reference and "kl" in closed.signals', 'if "kl" in closed.signals', LOG),
        ("forgets what it clips", 'self.window.pool("clipped", sums)', "pass", LOG),
        ("averages an evaluation by batches", 'self._means["eval"].so_far(logged, ', '(lambda *words: None)(logged, ', LOG),
    )
)  # fmt: skip

SCORING = tuple(
    fault(name, "trainers/trl/scoring", old, new, tests)
    for name, old, new, tests in (
        ("never scores itself", "if (needs & SCORED) - have:", "if False:", SCORED),
        ("always scores itself", "if (needs & SCORED) - have:", "if True:", SCORED),
        ("forgets the log-probs that it scored", "old_logps = score_tokens(", "score_tokens(", SCORED),
        ("keeps the reference for the policy", "if scores_reference(self.trainer, model):", "if False:", SCORED),
        ("takes an adapter that is off for the policy", "layer.disable_adapters or REFERENCE", "REFERENCE", SCORED),
        ("takes the reference's adapter for the policy", "layer.disable_adapters or REFERENCE in layer.active_adapters", "layer.disable_adapters", ("tests/contract/test_anchor.py", *SCORED)),
        ("loses the reference's entropy", "self.ref_entropy = entropy if", "self.ref_entropy = self.ref_entropy if", SCORED),
        ("asks for no entropy", "return self.on and not (", "return False and not (", SCORED),
        ("asks the reference for no entropy", "self.ref_entropy is None and scores_reference", "scores_reference", SCORED),
        ("never stops collecting", "            self._forwards = outer\n", "            pass\n", SCORED),
    )
)  # fmt: skip

VOCABULARY = (
    fault("takes statistics of the extra rows", "trainers/model/vocabulary", "**{name: rows(x) for name, x in fields.items()}", "**fields", EXTRA),
    fault("takes partition functions of the extra rows", "trainers/model/vocabulary", "{key: rows(x) for key, x in fields.pop(name).items()}", "fields.pop(name)", EXTRA),
    fault("keeps what was taken", "trainers/model/vocabulary", "passes, self._found = self._found, []", "passes = self._found", SCORED),
)  # fmt: skip

CRITIC = (
    fault("forgets the value loss", "trainers/seams", "return loss if total is None else total + loss", "return total", PARITY),
    fault("lets the value loss hide the others", "trainers/seams", "return loss if total is None else total + loss", "return loss", PPO),
    fault("logs nothing of its loss", "trainers/critic", 'passed.metrics |= {f"critic/{key}": value for key, value in means.items()}', "pass", PPO),
    fault("is above suspicion", "trainers/critic", 'passed.suspects |= {"critic.values": values, "critic.loss": losses}', "pass", FAULTY),
    fault("says that groups of one teach nothing", "trainers/critic", '.pop("frac_reward_zero_std", None)', '.get("frac_reward_zero_std", None)', PARITY),
    fault("joins no schedule", "trainers/head", "            join_schedule(trainer.lr_scheduler, trainer.optimizer, self._rate, tap.what)\n", "", (*PPO_FILES, *GIVEN)),
    fault("joins no optimizer", "trainers/head", "            set_apart(trainer.optimizer, tap.head, self._rate)\n", "", (*PPO_FILES, *GIVEN)),
    fault("joins any schedule", "trainers/model/head_tap", "if type(scheduler) is not LambdaLR:", "if False:", GIVEN),
    fault("takes the whole rate at once", "trainers/model/head_tap", "learning_rate * factor(scheduler.last_epoch)}", "learning_rate}", GIVEN),
    fault("leaves the heads out of Muon's optimizer", "trainers/run_seams", "[head.group() for head in self.heads]", "()", PPO_FILES),
    fault("saves no head", "trainers/run_seams", "head.save(Path(output_dir or str(self.args.output_dir)))", "pass", PPO_FILES),
    fault("saves the heads in one place", "trainers/run_seams", "Path(output_dir or str(self.args.output_dir))", "Path(str(self.args.output_dir))", PPO_FILES),
)  # fmt: skip

FILES = (
    fault("writes the history into checkpoints", "trainers/run_seams", "with history_elsewhere(self), self.saving.writing", "with self.saving.writing", SAVING),
    fault("saves nothing of a rank", "trainers/run_seams", "save_rank(self, folder, self.monitors)", "pass", SAVING),
    fault("saves no reference", "trainers/run_seams", "self.anchor.save(folder)", "pass", ("tests/contract/test_anchor.py", "tests/e2e/test_resume.py")),
    fault("trusts the best model", "trainers/run_seams", "with restricted_loading(self):\n            super()._load_best_model", "if True:\n            super()._load_best_model", ("tests/security/test_forged_checkpoints.py", *SAVING)),
    fault("trusts what it goes on from", "trainers/run_seams", "with restricted_loading(self):\n            return super()._prepare_for_training", "if True:\n            return super()._prepare_for_training", ("tests/security/test_forged_checkpoints.py", *SAVING)),
    fault("remembers nothing", "trainers/state/memory", 'self.restore((saved or {}).get("attributes", {}), checkpoint)', "pass", SAVING),
    fault("looks for another class", "trainers/state/memory", ".get(type(self).__name__)", '.get("Remembering")', SAVING),
    fault("remembers what has not begun", "trainers/state/memory", "get(type(self).__name__) if checkpoint else None", "get(type(self).__name__)", SAVING),
    fault("keeps nothing", "trainers/state/memory", '"attributes": self.kept()', '"attributes": {}', SAVING),
)  # fmt: skip

CLOCK = tuple(
    fault(name, "trainers/control/clock", old, new, tests)
    for name, old, new, tests in (
        ("keeps no temperature", 'held = {"temperature": trainer.scalars.temperature} if', "held = {} if", SCALARS),
        ("restores no temperature", 'trainer.scalars.temperature = signals.pop("temperature", None)', 'signals.pop("temperature", None)', SCALARS),
        ("takes a temperature for a signal", 'signals.pop("temperature", None)', 'signals.get("temperature", None)', SCALARS),
        ("counts generations anew", 'trainer.generations = kept["generations"]', "pass", SAVING),
        ("forgets the monitors", 'trainer.monitors.memory.restore(kept.get("monitors", {}))', "pass", MONITORS),
        ("forgets the thermostat", 'trainer.thermostat.load_state_dict({**kept, "signals": signals})', "pass", SAVING),
        ("begins at the schedule's rate", "        trainer.scalars.scale_learning_rate(trainer.objective)\n", "", SCALARS),
        ("leaves what a kill has left", "trainer.saving.tidy(checkpoint)", "pass", SAVING),
        ("takes a skipped step for a step", "applied = not self.trainer.accelerator.optimizer_step_was_skipped", "applied = True", (*FAULTY, "tests/contract/test_anchor.py")),
        ("stops without saving", "control.should_save = True", "pass", ("tests/contract/test_shaping.py", "tests/e2e/test_resume.py")),
        ("calls an empty run done", "if state.global_step == 0 < state.max_steps and not", "if False and not", GIVEN),
    )
)  # fmt: skip

CLOSING = tuple(
    fault(name, "trainers/seams", old, new, tests)
    for name, old, new, tests in (
        ("keeps TRL's token means", "told = self.trl_pass.token_means(closed) | closed.metrics", "told = closed.metrics", LOG),
        ("logs no metrics of the terms", "token_means(closed) | closed.metrics |", "token_means(closed) |", LOG),
        ("logs no KL of ours", "told | self.trl_pass.own_kl(closed)", "told", LOG),
        ("logs no clip shares", 'note(self, self.trl_pass.clip_shares(loss, closed), mode="train")', "pass", LOG),
        ("moves controllers on a skipped step", "        if applied:\n", "        if True:\n", FAULTY),
        ("tells of the loops before they move", "        if applied:\n", '        note(self, thermostat.report(), "control/", "train")\n        if applied:\n', SCALARS),
        ("closes before all is pooled", "        self.monitors.before_close()\n        closed = thermostat.window.close(self._reducer, self.stop_requested)\n", "        closed = thermostat.window.close(self._reducer, self.stop_requested)\n        self.monitors.before_close()\n", MONITORS),
        ("leaves the learning rate to the schedule", "self.scalars.scale_learning_rate(self.objective)", "pass", SCALARS),
        ("forgets the norm of the gradient", "self._grad_norm = math.nan if norm is None else float(norm)", "pass", SIGNALS[-1:]),
        ("asks nobody to stop", "return closed.stop", "return False", ("tests/contract/test_shaping.py",)),
        ("says nothing of a loop", "for knob, problem in thermostat.problems():", "for knob, problem in ():", SCALARS),
        ("judges no step", "self.guard.judge(model, self._grad_norm)", "pass", FAULTY),
        ("gives terms the extra rows", "(joined.length, joined.ordinary)", "(joined.length,)", EXTRA),
    )
)  # fmt: skip

GENERATION = (
    fault("measures no reference", "trainers/generation_seams", "note_generation(judged, self.scoring.ref_entropy)", "note_generation(judged)", SIGNALS[-1:]),
    fault("forgets what the rollout phase logs", "trainers/generation_seams", "note(self, merged(rollout.metrics, self._reducer))", "pass", LOG),
)  # fmt: skip

TOOLS = ("tests/contract/test_tool_output.py",)
BATCHES = (
    fault("trains on what a tool wrote", "trainers/trl/batches", "        mask=completion_mask(inputs),", '        mask=inputs["completion_mask"],', TOOLS),
    fault("measures what a tool wrote", "trainers/trl/batches", "completion_mask(output)", 'output["completion_mask"]', TOOLS),
)  # fmt: skip
