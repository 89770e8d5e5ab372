"""The mixin that puts an objective into TRL's GRPOTrainer: three private methods and one tap, each calling super once.

    _generate_and_score_completions   rollout phase: rewards, old log-probs and entropies -> advantages and statistics
    _calculate_rewards                keeps the gathered rewards
    _get_per_token_logps_and_entropies  the tap: after the forward pass, before TRL reads the advantages
    _compute_loss                     TRL's scalars for this step around super(), then our additive terms

Nothing of TRL is copied. Weights ride on its (B, T) advantages, which it reads after the forward pass.
"""

from __future__ import annotations

import contextlib
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from entropostat.rl.batch import STATISTICS, TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.trainers.callbacks import ControlCallback
from entropostat.trainers.checkpoint import restore_buffer, save_buffer
from entropostat.trainers.config import check_supported, configure, needs_reference
from entropostat.trainers.normaliser import aggregate, completion_mask, tokens_per_micro_batch
from entropostat.trainers.reducer import make_reducer
from entropostat.trainers.scoring import score_tokens
from entropostat.trainers.vocabulary import VocabularyTap, innermost
from entropostat.trainers.window import Window

log = logging.getLogger(__name__)

KEY = "entropostat/"
"""Prefix of the keys that we add to TRL's buffered inputs."""


class EntropyMixin:
    """Put before GRPOTrainer in the bases. Takes ``objective``, a normalised recipe block or a Control."""

    def __init__(self, *args: Any, objective: Any, **kwargs: Any) -> None:
        self.thermostat = objective if isinstance(objective, Control) else Control.build(objective)
        check_supported(self.thermostat)
        kwargs["args"] = configure(kwargs.get("args"), self.thermostat)
        self._owns_reference = needs_reference(self.thermostat)
        self._armed: dict[str, Any] | None = None
        self._scored: list[dict[str, Tensor]] | None = None
        self._window = Window()
        super().__init__(*args, **kwargs)
        self._reducer = make_reducer(self.accelerator)
        template = self.thermostat.template
        asks = template.vocabulary(template.needs | template.rollout_needs) is not None
        self._vocabulary = VocabularyTap(innermost(self.model), self.temperature) if asks else None
        self.control_state = self.thermostat.init()
        self.objective: Objective = self.thermostat.objective(self.thermostat.values(self.control_state))
        self.stop_requested = False
        self.answer_keys: Callable[[], Sequence[str | None] | None] = lambda: None
        self.generations = 0
        self.add_callback(ControlCallback(self))

    # ------------------------------------------------------------------------------------------ rollout phase

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards = super()._calculate_rewards(*args, **kwargs)
        self._rewards_per_func = rewards
        return rewards

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        self._scored = []
        try:
            with self._counting_vocabulary(self.objective.rollout_needs):
                output = super()._generate_and_score_completions(*args, **kwargs)
                batch = self._rollout_batch(output)
        finally:
            self._scored = None
        self._score(output, batch)
        return output

    def _rollout_batch(self, output: dict[str, Any]) -> TokenBatch:
        """This rank's share of the generation, as the rollout phase of the objective sees it."""
        rows = output["completion_ids"].size(0)
        mine = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        weights = self.reward_weights.to(self._rewards_per_func.device).unsqueeze(0)
        rewards = (self._rewards_per_func * weights).nansum(dim=1)
        rewards[torch.isnan(self._rewards_per_func).all(dim=1)] = torch.nan
        training = self.model.training
        size = self.num_generations if training else self.num_generations_eval
        uids = torch.arange(rewards.numel(), device=rewards.device)
        needs = self.objective.rollout_needs
        old_logps = output.get("old_per_token_logps")
        scored = self._scored[0] if old_logps is not None and self._scored else {}
        if (old_logps is None and "old_logps" in needs) or needs & {"old_entropy", *STATISTICS} - set(scored):
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
            rewards=rewards[mine],
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
        if self.objective.advantages:
            self._log_advantages(rollout.advantages)
        output["advantages"] = rollout.advantages
        output[f"{KEY}uids"] = batch.uids
        for name, stats in rollout.stats.items():
            output |= {f"{KEY}{name}/{key}": value for key, value in stats.items()}
        mode = "train" if self.model.training else "eval"
        for key, value in rollout.metrics.items():
            self._metrics[mode][key].append(value.item())
        if self.model.training:
            self.generations += 1

    def _log_advantages(self, advantages: Tensor) -> None:
        """The completions table must show the advantages that train, not those that TRL computed."""
        logged = self._logs["advantages"]
        per_row = advantages if advantages.dim() == 1 else advantages.mean(1)
        values = self.accelerator.gather(per_row).tolist() if self._reducer_spans_ranks else per_row.tolist()
        for _ in range(min(len(values), len(logged))):
            logged.pop()
        logged.extend(values)

    @property
    def _reducer_spans_ranks(self) -> bool:
        return bool(self.accelerator.num_processes > 1)

    # ------------------------------------------------------------------------------------------ loss phase

    def _get_per_token_logps_and_entropies(self, model: Any, *args: Any, **kwargs: Any) -> Any:
        collecting = self._scored is not None and model is self.model
        if collecting:
            kwargs["compute_entropy"] = True  # the fused head computes it anyway
        result = super()._get_per_token_logps_and_entropies(model, *args, **kwargs)
        if collecting:
            statistics = {} if self._vocabulary is None else self._vocabulary.take(result[0].size(1))
            self._scored.append({"old_entropy": result[1], **statistics})
        if self._armed is not None:
            self._tap(result[0], result[1])
        return result

    def _tap(self, logps: Tensor, entropy: Tensor) -> None:
        """Between TRL's forward pass and its reading of the advantages."""
        armed = self._armed
        inputs = armed["inputs"]
        stats: dict[str, dict[str, Tensor]] = {}
        for key, value in inputs.items():
            if key.startswith(KEY) and key.count("/") >= 2:
                name, _, stat = key[len(KEY) :].rpartition("/")
                stats.setdefault(name, {})[stat] = value
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
            **({} if self._vocabulary is None else self._vocabulary.take(logps.size(1))),
        )
        weight, metrics = self.objective.weight(batch, stats)
        armed |= {"batch": batch, "stats": stats, "weight": weight, "metrics": metrics}
        if not self.objective.loss.term.delegated:
            inputs["advantages"] = torch.zeros_like(inputs["advantages"])
        elif weight is not None:
            inputs["advantages"] = batch.token_advantages * weight

    def _compute_loss(self, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Tensor:
        inputs = dict(inputs)  # TRL's buffer is read again when num_iterations > 1
        self._armed = {"inputs": inputs}
        try:
            with self._trl_scalars(), self._counting_vocabulary(self.objective.needs):
                loss = super()._compute_loss(model, inputs, *args, **kwargs)
        finally:
            armed, self._armed = self._armed, None
        extra = self._additive_terms(inputs, armed)
        loss = loss if extra is None else loss + extra
        if self.model.training:
            self._window.add(armed["batch"], armed["metrics"])
        return loss

    def _additive_terms(self, inputs: dict[str, Any], armed: dict[str, Any]) -> Tensor | None:
        """Our surrogate, where TRL does not compute it, and the penalties, on the scale of TRL's loss."""
        batch, stats, metrics = armed["batch"], armed["stats"], armed["metrics"]
        rho = inputs.get("importance_sampling_ratio")
        steps = self.current_gradient_accumulation_steps if self.model.training else 1.0
        total: Tensor | None = None
        tokens: Tensor | None = None
        if not self.objective.loss.term.delegated:
            tokens, found = self.objective.surrogate(batch)
            metrics |= found
            tokens = tokens if armed["weight"] is None else tokens * armed["weight"]
            tokens = tokens if rho is None else tokens * rho
        for part in self.objective.penalties:
            value, found = self.objective.penalty(part, batch, stats)
            metrics |= found
            if part.term.kind == "scalar":
                total = value / steps if total is None else total + value / steps
                continue
            value = value * rho if rho is not None and part.term.policy_term else value
            tokens = value if tokens is None else tokens + value
        if tokens is None:
            return total
        reduced = aggregate(self, tokens, inputs, batch.require("tokens"))
        return reduced if total is None else total + reduced

    def _counting_vocabulary(self, needs: frozenset[str]) -> contextlib.AbstractContextManager[None]:
        """Inside, scored tokens come with the statistics of the vocabulary, if ``needs`` names any."""
        wanted = self.objective.vocabulary(needs)
        return contextlib.nullcontext() if wanted is None else self._vocabulary.armed(wanted)

    @contextlib.contextmanager
    def _trl_scalars(self) -> Iterator[None]:
        """TRL's own KL off where ours replaces it, and its clip range at this step's values; restored afterwards."""
        term = self.objective.loss.term
        wanted = {"beta": 0.0} if self._owns_reference else {}
        if term.delegated:
            high = term.epsilon if term.epsilon_high is None else term.epsilon_high
            wanted |= {"epsilon_low": term.epsilon, "epsilon_high": high}
        before = {name: getattr(self, name) for name in wanted}
        for name, value in wanted.items():
            setattr(self, name, value)
        try:
            yield
        finally:
            for name, value in before.items():
                setattr(self, name, value)

    # ------------------------------------------------------------------------------------------ checkpoints

    def _save_checkpoint(self, *args: Any, **kwargs: Any) -> None:
        super()._save_checkpoint(*args, **kwargs)
        save_buffer(self, Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}")

    # ------------------------------------------------------------------------------------------ control

    def close_window(self, applied: bool) -> bool:
        """After an optimizer step: log the window, move the controllers if the step was applied. True: stop now."""
        signals, metrics, stop = self._window.close(self._reducer, self.stop_requested)
        logged = self._metrics["train"]
        for key, value in metrics.items():
            logged[key].append(value)
        if self._owns_reference and "kl" in signals:
            logged["kl"].append(signals["kl"])
        if applied:
            signals |= self._run_signals()
            self.control_state = self.thermostat.update(self.control_state, signals)
        for path, state in self.control_state.items():
            for key in ("output", "target", "signal", "smoothed", "error", "p", "i", "d", "saturated"):
                if key in state:
                    logged[f"control/{path}/{key}"].append(state[key])
        self.objective = self.thermostat.objective(self.thermostat.values(self.control_state))
        return stop

    def restore_control(self, saved: dict[str, Any]) -> None:
        """Continue from a checkpoint. Knobs that the checkpoint does not know start afresh."""
        if not restore_buffer(self, Path(self.args.output_dir) / f"checkpoint-{self.state.global_step}"):
            log.warning("this checkpoint holds no rollout buffer for this rank: the run goes on with a new generation")
        self.control_state |= {path: state for path, state in saved["control"].items() if path in self.control_state}
        self.generations = saved["generations"]
        self.objective = self.thermostat.objective(self.thermostat.values(self.control_state))

    def _run_signals(self) -> dict[str, float]:
        rewards = self._metrics["train"].get("reward")
        if rewards:
            self._last_reward = rewards[-1]
        total = max(self.state.max_steps, 1)
        return {
            "step": float(self.state.global_step),
            "progress": self.state.global_step / total,
            "reward": getattr(self, "_last_reward", math.nan),
        }
