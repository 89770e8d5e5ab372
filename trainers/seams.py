"""The mixin that puts an objective into TRL's GRPOTrainer: three private methods and one tap, each calling super once.

    _generate_and_score_completions   rollout phase: rewards, old log-probs and entropies -> advantages and statistics
    _calculate_rewards                keeps the gathered rewards, and looks at the first ones
    _get_per_token_logps_and_entropies  the tap: after the forward pass, before TRL reads the advantages
    _compute_loss                     TRL's scalars for this step around super(), then our additive terms

Nothing of TRL is copied. Weights ride on its (B, T) advantages, which it reads after the forward pass.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from entropostat.recipe.blocks import Optimizer
from entropostat.recipe.signals import REF_ENTROPY
from entropostat.rl.batch import Extra, TokenBatch
from entropostat.rl.control import watches
from entropostat.rl.measured import merged
from entropostat.rl.needs import SCORED
from entropostat.rl.objective import Objective
from entropostat.trainers.anchor import attach_anchor
from entropostat.trainers.buffer import KEY, packed, unpacked
from entropostat.trainers.callbacks import ControlCallback
from entropostat.trainers.config import GRPO, arguments, check_supported, needs_reference
from entropostat.trainers.control import ControlMixin
from entropostat.trainers.extra import KEY as EXTRA_KEY
from entropostat.trainers.extra import Joined
from entropostat.trainers.first_scores import check_first_scores
from entropostat.trainers.monitors import MonitorMixin
from entropostat.trainers.nonfinite import GuardMixin
from entropostat.trainers.normaliser import aggregate, completion_mask, tokens_per_micro_batch
from entropostat.trainers.objective import as_control
from entropostat.trainers.optimizers import OptimizerMixin
from entropostat.trainers.reducer import make_reducer
from entropostat.trainers.rollouts import extra_rollouts
from entropostat.trainers.saving import SavingMixin
from entropostat.trainers.scalars import ScalarsMixin
from entropostat.trainers.scoring import score_tokens, scores_reference, scoring_entropies
from entropostat.trainers.shaping import ShapingMixin
from entropostat.trainers.token_means import TokenMeans
from entropostat.trainers.trl_pass import TRLPassMixin
from entropostat.trainers.vocabulary import Packed, VocabularyTap, innermost
from entropostat.trainers.window import Window


class EntropyMixin(
    GuardMixin, ShapingMixin, MonitorMixin, TRLPassMixin, ControlMixin, OptimizerMixin, ScalarsMixin, SavingMixin
):
    """Put before GRPOTrainer in the bases. Takes ``objective`` in any form of ``as_control``, and the block ``optimizer``."""

    kind = GRPO

    def __init__(self, *args: Any, objective: Any = None, optimizer: Optimizer | None = None, **kwargs: Any) -> None:
        self.thermostat = as_control(objective)
        check_supported(self.thermostat)
        self._owns_reference = needs_reference(self.thermostat)
        self._armed: dict[str, Any] | None = None
        self._scored: list[dict[str, Tensor]] | None = None
        self._window = Window(self.thermostat.signals)
        self._ref_entropy: Tensor | None = None
        """Of the last generation; stays None where no controller reads it."""
        super().__init__(**arguments(args, kwargs, self.thermostat, self.kind))
        self._reducer = make_reducer(self.accelerator)
        template = self.thermostat.template
        told = template.loss.term.delegated, self.importance_sampling_level == "sequence"
        self._token_means = {mode: TokenMeans(*told) for mode in ("train", "eval")}
        asks = template.vocabulary(template.needs | template.rollout_needs) is not None
        self._vocabulary = VocabularyTap(innermost(self.model), self.temperature) if asks else None
        if self.thermostat.signals & REF_ENTROPY:
            self._ref_entropy = scoring_entropies(self)
        self.control_state = self.thermostat.init()
        self._watches = watches(self.thermostat)
        self.objective: Objective = self.thermostat.objective(self.thermostat.values(self.control_state))
        self.stop_requested = False
        self._held = {}
        self._set_up_scalars()
        self.answer_keys: Callable[[], Sequence[str | None] | None] = lambda: None
        self.fingerprint = lambda step: None
        self.generations = 0
        self._set_up_optimizer(optimizer or Optimizer())
        self.add_callback(ControlCallback(self))
        self.anchor = attach_anchor(self)

    # ------------------------------------------------------------------------------------------ rollout phase

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._rewards_per_func = rewards
        check_first_scores(self, rewards)
        return rewards

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._scored = []
        try:
            with self._counting_vocabulary(self._rollout_needs), self._sampling_anew():
                output = super()._generate_and_score_completions(*args, **kwargs)
                batch = self._rollout_batch(output)
        finally:
            self._scored = None
        self._score(output, batch)
        if self.model.training:
            self._measure(batch, self._ref_entropy)
            generate = super()._generate_and_score_completions
            output |= extra_rollouts(self, generate, args[0] if args else kwargs["inputs"], output, batch)
        return output

    def _rollout_batch(self, output: dict[str, Any]) -> TokenBatch:
        """This rank's share of the generation, as the rollout phase of the objective sees it."""
        rows = output["completion_ids"].size(0)
        mine = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        rewards = self.shaped_rewards(self._rewards_per_func, output)
        training = self.model.training
        size = self.num_generations if training else self.num_generations_eval
        uids = torch.arange(self._rewards_per_func.size(0), device=rewards.device)
        needs = self._rollout_needs
        old_logps = output.get("old_per_token_logps")
        scored = self._scored[0] if old_logps is not None and self._scored else {}
        have = {*scored, *(() if old_logps is None else ("old_logps",))}
        if (needs & SCORED) - have:
            old_logps = score_tokens(self, output)
            scored = self._scored[-1]
        mask = completion_mask(output)
        answers = self.answer_keys()
        return TokenBatch(
            logps=mask.float() * 0 if old_logps is None else old_logps,
            mask=mask,
            old_logps=old_logps,
            **scored,
            ref_logps=output.get("ref_per_token_logps"),
            rewards=rewards,
            reward_parts=self._rewards_per_func[mine],
            reward_weights=tuple(self.reward_weights.tolist()),
            groups=(uids // size)[mine],
            uids=uids[mine],
            answers=None if answers is None else tuple(answers),
            clip=self.objective.loss.term.clip,
            seed=self.args.seed,
            generation=self.generations,
            reducer=self._reducer,
        )

    def _score(self, output: dict[str, Any], batch: TokenBatch) -> None:
        """Write what the rollout phase of the objective computes into TRL's buffer."""
        if not self.objective.advantages:
            batch = batch.set(advantages=output["advantages"])
        rollout = self.objective.rollout(batch)
        output["advantages"] = rollout.advantages
        self._note_generation(output, batch.set(advantages=rollout.advantages))
        output[f"{KEY}uids"] = batch.uids
        output |= packed(rollout.stats)
        logged = self._metrics["train" if self.model.training else "eval"]
        for key, value in merged(rollout.metrics, self._reducer).items():
            logged[key].append(value)
        if self.model.training:
            self.generations += 1

    # ------------------------------------------------------------------------------------------ loss phase

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        collecting = self._scored is not None
        reference = collecting and scores_reference(self, model)
        if collecting and not (reference and self._ref_entropy is None):
            kwargs["compute_entropy"] = True  # the fused head computes it anyway
        if self._armed is not None and f"{EXTRA_KEY}weights" in self._armed["inputs"]:
            return self._with_extra_rows(model, *args, **kwargs)
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if collecting:  # what the tap holds goes either way: with its adapter off the policy is its own reference
            statistics = self._taken(result[0].size(1))
            if reference:
                self._ref_entropy = result[1]
            else:
                self._scored.append({"old_entropy": result[1], **statistics})
        if self._armed is not None:
            self._tap(result[0], result[1])
        return self._logps_for_trl(result[0]), *result[1:]

    def _taken(self, length: int) -> dict[str, Any]:
        """Batch fields that the taps have of the forward passes since the last taking."""
        return {} if self._vocabulary is None else self._vocabulary.take(length)

    def _with_extra_rows(self, model: Any, ids: Tensor, attention: Tensor, keep: int, *args: Any, **kwargs: Any) -> Any:
        """The same forward pass with the extra completions appended; TRL sees its own rows."""
        joined = Joined(self._armed["inputs"], ids, attention, keep, self._tokenizer.pad_token_id)
        logps, entropy, *rest = super()._get_per_token_logps_and_entropies(
            model, joined.ids, joined.attention, joined.length, *args, **kwargs
        )
        extra, logps, entropy = joined.extra(logps, entropy), joined.ordinary(logps), joined.ordinary(entropy)
        self._tap(logps, entropy, joined, extra)
        return self._logps_for_trl(logps), entropy, *rest

    def _tap(self, logps: Tensor, entropy: Tensor, joined: Joined | None = None, extra: Extra | None = None) -> None:
        """Between TRL's forward pass and its reading of the advantages."""
        armed = self._armed
        inputs = armed["inputs"]
        stats = unpacked(inputs)
        batch = TokenBatch(
            logps=logps,
            mask=completion_mask(inputs),
            advantages=inputs["advantages"],
            old_logps=inputs.get("old_per_token_logps"),
            ref_logps=inputs.get("ref_per_token_logps"),
            entropy=entropy,
            uids=inputs.get(f"{KEY}uids"),
            clip=self.objective.loss.term.clip,
            tokens=tokens_per_micro_batch(self, inputs),
            seed=self.args.seed,
            generation=self.generations,
            reducer=self._reducer,
            extra=extra,
            **self._statistics(logps, joined),
        )
        weight, metrics = self.objective.weight(batch, stats, each := {})
        armed |= {"batch": batch, "stats": stats, "weight": weight, "each": each, "metrics": metrics, "parts": {}}
        if weight is not None:
            inputs["advantages"] = batch.token_advantages * weight

    def _statistics(self, logps: Tensor, joined: Joined | None) -> dict[str, Any]:
        """Batch fields that the tap on the vocabulary has for the ordinary rows."""
        if self._vocabulary is None:
            return {}
        if joined is None:
            return self._vocabulary.take(logps.size(1))
        found = self._vocabulary.take(joined.length)
        lse = {t: joined.ordinary(x) for t, x in found.pop("lse", {}).items()}
        rows = {name: joined.ordinary(x) for name, x in found.items()}
        return {**rows, "lse": lse} if lse else rows

    def _compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        if self._governor is not None:
            self._governor.watch(inputs)
        self._armed = {"inputs": dict(inputs), "suspects": {}}  # TRL's buffer is read again when num_iterations > 1
        mode = "train" if self.model.training else "eval"
        means, logged = self._token_means[mode], self._metrics[mode]
        try:
            with means.taking(logged), self._trl_scalars(), self._counting_vocabulary(self.objective.needs, inputs):
                loss = super()._compute_loss(model, self._armed["inputs"], *args, **kwargs)
        finally:
            armed, self._armed = self._armed, None
        armed["suspects"][f"loss.{self.objective.loss.name}"] = loss
        extra = self._additive_terms(inputs, armed)
        self._amend_log(armed, extra)
        if self.model.training:
            self._window.add(armed["batch"], armed["metrics"], self.objective.loss.term)
            self._note_loss(loss, inputs, armed)
        else:
            means.so_far(logged, float(self._reducer.sum(armed["batch"].count)))
        loss = loss if extra is None else loss + extra
        if self.model.training:
            loss = self.guard.watch(loss, inputs, armed)
        return loss

    def _additive_terms(self, inputs: dict[str, Any], armed: dict[str, Any]) -> Tensor | None:
        """Our surrogate, where TRL does not compute it, and the penalties, on the scale of TRL's loss."""
        batch, stats, metrics, parts = armed["batch"], armed["stats"], armed["metrics"], armed["parts"]
        rho = inputs.get("importance_sampling_ratio")
        steps = self.current_gradient_accumulation_steps if self.model.training else 1.0
        total = tokens = None
        if not self.objective.loss.term.delegated:
            tokens, found = self.objective.surrogate(batch)
            metrics |= found
            armed["suspects"][f"loss.{self.objective.loss.name}"] = tokens
            tokens = tokens if armed["weight"] is None else tokens * armed["weight"]
            tokens = parts[self.objective.loss.name] = tokens if rho is None else tokens * rho
        for part in self.objective.penalties:
            value, found = self.objective.penalty(part, batch, stats)
            metrics |= found
            armed["suspects"][f"penalties.{part.name}"] = value
            if part.term.kind == "scalar":
                parts[part.name] = value = value / steps
                total = value if total is None else total + value
                continue
            parts[part.name] = value = value * rho if rho is not None and part.term.policy_term else value
            tokens = value if tokens is None else tokens + value
        if tokens is None:
            return total
        reduced = aggregate(self, tokens, inputs, batch.require("tokens"))
        return reduced if total is None else total + reduced

    def _counting_vocabulary(
        self, needs: frozenset[str], inputs: Mapping[str, Any] | None = None
    ) -> contextlib.AbstractContextManager[None]:
        """Inside, scored tokens come with the statistics of the vocabulary, if ``needs`` names any."""
        wanted = self.objective.vocabulary(needs)
        if wanted is None:
            return contextlib.nullcontext()
        return self._vocabulary.armed(wanted, Packed.among(inputs or {}) if wanted.soft else None)
