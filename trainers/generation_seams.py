"""The overrides of TRL's trainer that a generation goes through, each calling super() once.

_generate_and_score_completions   prompts -> completions, old log-probs, advantages, statistics
_calculate_rewards                scores of all ranks
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

from torch import Tensor

from entropostat.rl.batch import TokenBatch
from entropostat.rl.measured import merged
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import Reducer
from entropostat.rl.thermostat import Thermostat
from entropostat.trainers.control.scalars import Scalars
from entropostat.trainers.critic import CriticOwner
from entropostat.trainers.model.vocabulary import Vocabulary
from entropostat.trainers.rollout.first_scores import check_first_scores
from entropostat.trainers.rollout.planning import Planning
from entropostat.trainers.rollout.rollouts import extra_rollouts
from entropostat.trainers.rollout.shaping import RewardShaper
from entropostat.trainers.rollout.stream import PromptStream
from entropostat.trainers.trl import batches
from entropostat.trainers.trl.below import Below
from entropostat.trainers.trl.buffer import KEY, packed
from entropostat.trainers.trl.log import note
from entropostat.trainers.trl.scoring import Scoring
from entropostat.trainers.watch.monitors import Monitors


class GenerationSeams(Below):
    """The half of EntropyMixin, which makes the owners, that a generation goes through."""

    thermostat: Thermostat
    shaper: RewardShaper
    planning: Planning
    scoring: Scoring
    stream: PromptStream
    vocabulary: Vocabulary
    critic: CriticOwner | None
    monitors: Monitors
    scalars: Scalars
    generations: int
    _reducer: Reducer

    @property
    def objective(self) -> Objective:  # type: ignore[override]  # transformers has one of a search
        """At the knob values of this step."""
        return self.thermostat.objective

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        rewards = self.shaper.scores.usable(super()._calculate_rewards(*args, **kwargs))
        self._rewards_per_func = rewards
        check_first_scores(self, rewards)
        return rewards

    def _generate_and_score_completions(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        taps = self.vocabulary.counting(self.objective, self.thermostat.rollout_needs)
        generate = super()._generate_and_score_completions
        with self.scoring.collecting(), self._with_values(), taps, self.scalars.sampling_anew(self.objective):
            inputs = self.stream.asked(args[0] if args else kwargs["inputs"], self.objective)
            output = super()._generate_and_score_completions(inputs)
            output = self.stream.completed(output, self.objective, generate, self.thermostat.rollout_needs)
            batch = self._rollout_batch(output)
        self._score(output, batch)
        if self.model.training:
            judged = batch.set(rewards=self.stream.drawn(batch, self.shaper.unshaped))
            note(self, self.thermostat.note_generation(judged, self.scoring.ref_entropy), "signal/")
            output |= extra_rollouts(self, self.objective.sampler, self.shaper.shape, generate, inputs, output, batch)
        return output

    def _rollout_batch(self, output: dict[str, Any]) -> TokenBatch:
        """This rank's share of the generation, as the rollout phase of the objective sees it."""
        needs, per_func = self.thermostat.rollout_needs, self._rewards_per_func
        old_logps, fields = self.scoring.complete(output, needs)
        unshaped = self.shaper.judged(per_func, output)
        fields |= {
            **self._constants(),
            "planning": self.planning.mask(output, unshaped),
            "answers": self.stream.answers(lambda: batches.answers_of(self, len(unshaped), needs)),
        }
        batch = batches.of_generation(self, output, unshaped, old_logps, fields)
        rewarded = self.shaper.reward(self.objective, batch) if self.objective.rewards else None
        batch = batch.set(rewards=self.shaper.shape(per_func, output, rewarded=rewarded))
        return batch if self.critic is None else self.critic.keep_values(output, batch)

    def _constants(self) -> dict[str, Any]:
        """Batch fields of both phases."""
        known = {"clip": self.objective.loss.term.clip, "seed": self.args.seed, "reducer": self._reducer}
        return known | {"generation": self.generations}

    def _score(self, output: dict[str, Any], batch: TokenBatch) -> None:
        """Write what the rollout phase of the objective computes into TRL's buffer."""
        if not self.objective.advantages:
            batch = batch.set(advantages=output["advantages"])
        rollout = self.objective.rollout(batch)
        output["advantages"] = advantages = self.stream.silenced(rollout.advantages)
        unshaped = batch.rewards if self.shaper.unshaped is None else self.shaper.unshaped
        seen = batch.set(advantages=advantages, rewards=unshaped)
        self.monitors.note_generation(output, seen, self.objective, self.stream.drawn(batch, None))
        output[f"{KEY}uids"] = batch.uids
        output |= packed(rollout.stats)
        note(self, merged(rollout.metrics, self._reducer))
        if self.model.training:
            self.generations += 1
        if self.critic is not None:
            self.critic.keep_returns(output, batch, self.objective)

    def _with_values(self) -> AbstractContextManager[None]:
        return nullcontext() if self.critic is None else self.critic.armed()
