"""Faults of reward models, of the preferences they learn from, and of the shaping of rewards."""

from __future__ import annotations

from mutation import mutants
from mutation.mutants import Mutant

MODELS = ("tests/unit/test_reward_models.py",)
PREFERENCES = ("tests/unit/test_preferences.py",)
SHAPING = ("tests/contract/test_shaping.py",)
PADDING = ("tests/contract/test_reward_padding.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = MODELS) -> Mutant:
    return mutants.fault(name, file, old, new, tests)


MODEL, PREFER, SHAPE, ROLLOUTS, SCORING = (
    "trainers/build/reward_model", "trainers/build/preferences", "trainers/rollout/shaping", "trainers/rollout/rollouts",
    "reward/scoring",
)  # fmt: skip
REWARDS = (
    fault("cuts the end", MODEL, 'truncation_side="left"', 'truncation_side="right"'),
    fault("cuts off the front", MODEL, "self.encode(*text, **cut) if", "row[-self.limit :] if"),
    fault("counts no cut", MODEL, "sum(len(row) > self.limit for row in rows)", "0"),
    fault("gives the scores in its own order", MODEL, "scores[place] = score", "scores[order.index(place)] = score"),
    fault("reads padding", "trainers/model/reward_padding", "ids.masked_fill(attention == 0, pad)", "ids", PADDING),
    fault("takes a padding token out of the vocabulary", "trainers/model/reward_padding", "if pad is None or not 0 <= pad < config.vocab_size:", "if pad is None:", PADDING),
    fault("forgets the end token", MODEL, '(self.tokenizer.eos_token or "") if self.term.end else ""', '""'),
    fault("always ends", MODEL, "if self.term.end else", "if True else"),
    fault("reads the first output", MODEL, "logits[:, self.term.label or 0]", "logits[:, 0]"),
    fault("takes any head", MODEL, "    if missing:", "    if False:"),
    fault("takes any number of outputs", MODEL, "if term.label is None and outputs != 1:", "if False:"),
    fault("leaves the template out", MODEL, "str(self.tokenizer.apply_chat_template(messages, tokenize=False))", '"".join(m["content"] for m in messages)'),
    fault("trains", MODEL, ".requires_grad_(False).eval()", ""),
    fault("lets NaN be a reward", "reward/judge", "if not math.isfinite(number):", "if False:", ("tests/security/test_hostile_verifiers.py", "tests/unit/test_reward_scoring.py")),
    fault("lets a model judge", SCORING, "able = [name for name, v in self.verifiers.items() if not v.learned and v.judges(source)]", "able = [name for name, v in self.verifiers.items() if v.judges(source)]"),
    fault("prefers the worst", PREFER, "best, worst = max(scored, key=lambda pair: pair[0]), min(", "worst, best = max(scored, key=lambda pair: pair[0]), min(", PREFERENCES),
    fault("prefers without a difference", PREFER, "if best[0] > worst[0]:", "if True:", PREFERENCES),
    fault("has no noise", PREFER, "if rng.random() < share else pair", "if False else pair", PREFERENCES),
    fault("has the other noise", PREFER, "if rng.random() < share else pair", "if rng.random() > share else pair", PREFERENCES),
    fault("inherits the launcher", PREFER, "if k not in DISTRIBUTED and not", "if True and not", PREFERENCES),
    fault("forgets its options in the cache", PREFER, "content_key([job, code, versions])", 'content_key([job["policy"], code, versions])', PREFERENCES),
    fault("normalises before it counts", SHAPE, "self.moments = self.moments.update(rewards)", "self._later = self.moments.update(rewards)", SHAPING),
    fault("counts its own rank alone", SHAPE, "self.moments.update(rewards)", "self.moments.update(rewards[:1])", SHAPING),
    fault("counts evaluations", SHAPE, "training = self.trainer.model.training and not again", "training = not again", SHAPING),
    fault("clips at nothing", SHAPE, "shaped = shaped.clamp(-self.settings.clip, self.settings.clip)", "pass", SHAPING),
    fault("clips on one side", SHAPE, "shaped.clamp(-self.settings.clip, self.settings.clip)", "shaped.clamp(max=self.settings.clip)", SHAPING),
    fault("rewards what does not end", SHAPE, "local = shaped[mine] - (", "local = shaped[mine] + (", SHAPING),
    fault("logs clips of all", SHAPE, "clipped = shaped.abs() > self.settings.clip", "clipped = shaped.abs() >= 0", SHAPING),
    fault("controls by what it made", "trainers/generation_seams", "judged = batch.set(rewards=self.stream.drawn(batch, self.shaper.unshaped))", "judged = batch", SHAPING),
    fault("shapes for nobody", SHAPE, "if not template.advantages:", "if False:", SHAPING),
    fault("forgets its moments", "trainers/control/clock", 'RunningMoments.from_state(kept.get("moments", {}))', "RunningMoments()", SHAPING),
    fault("takes padding for an end", "trainers/trl/described", "last = (torch.arange(ids.size(1), device=ids.device) * mask).amax(1, keepdim=True)", "last = torch.full((ids.size(0), 1), ids.size(1) - 1, device=ids.device)", SHAPING),
    fault("drops what only a weight of 0 scored", ROLLOUTS, "torch.isnan(per_func).all(dim=1)", "(torch.isnan(per_func) | (weights == 0)).all(dim=1)", SHAPING),
)  # fmt: skip
