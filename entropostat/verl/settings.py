"""verl's whole configuration, read for what the objective needs of it: what is switched on, and what contradicts it.

What verl computes only when it is asked to (reference log-probs, the sampler's, entropy with gradient) follows from the objective and
is switched on here. What verl would do beside the objective, or instead of it, must be off, and is refused by name where it is not.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.rl.signals import OLD_ENTROPY, needs_reference
from entropostat.rl.term import Penalty, Weight
from entropostat.verl.carries import AGGREGATION, VERLS, Refusal, slotted
from entropostat.verl.config import BLOCK, MODE, as_block, objective_of, told

ACTOR, ROLLOUT, REF = "actor_rollout_ref.actor", "actor_rollout_ref.rollout", "actor_rollout_ref.ref"
TARGET = "entropostat.verl.PolicyLoss"
ENGINES = ("fsdp", "fsdp2")


@dataclass(frozen=True)
class Settings:
    """What the driver needs to know. Made by ``of``, which refuses the rest."""

    spec: dict[str, Any]
    """Slot -> (name, kind, options), the loss as it is computed here."""
    control: Control
    block: dict[str, Any]
    """The objective as it stands in a recipe."""
    mode: str
    scale: float | None
    seed: int
    longest: int
    """Tokens of the longest response."""

    @classmethod
    def of(cls, config: DictConfig) -> Settings:
        """Raises ValueError with a line for everything that does not fit."""
        given = OmegaConf.select(config, BLOCK)
        if given is None or given.get("_target_") != TARGET:
            raise ValueError(f"{BLOCK}._target_: trainer.v1.trainer_mode={MODE} needs an objective; set it to {TARGET}")
        objective = objective_of(given.get("objective"))
        spec: dict[str, Any] = {}
        for slot, (name, kind, options) in slotted(objective):
            if slot == "loss":
                spec[slot] = (name, kind, dict(options))
            elif slot != "data":
                spec.setdefault(slot, []).append((name, kind, dict(options)))
        settings = cls(
            spec=spec,
            control=Control.build(spec),
            block=as_block(objective),
            mode=OmegaConf.select(config, f"{ACTOR}.loss_agg_mode"),
            scale=OmegaConf.select(config, f"{ACTOR}.loss_scale_factor"),
            seed=given.get("seed", 0),
            longest=int(OmegaConf.select(config, f"{ROLLOUT}.response_length")),
        )
        links = [term.kind for term in objective.get("data") or ()]
        if problems := [*_terms(settings.control.template), *_contradictions(config, settings, links)]:
            raise ValueError(f"verl's configuration does not fit the objective\n{told(problems)}")
        return settings

    @property
    def estimates(self) -> bool:
        """Advantages are ours, and not those of ``algorithm.adv_estimator``."""
        first = next(iter(self.control.template.advantages), None)
        return first is not None and not first.term.reshapes

    @property
    def needs(self) -> frozenset[str]:
        """Batch fields of the loss and of the driver."""
        return self.control.template.needs | self.rollout_needs

    @property
    def rollout_needs(self) -> frozenset[str]:
        measured = {"old_entropy"} if self.control.signals & OLD_ENTROPY else set()
        return self.control.template.rollout_needs | measured

    @property
    def reference(self) -> bool:
        return needs_reference(self.needs, self.control.signals)

    def switch_on(self, config: DictConfig) -> None:
        """What the objective reads and verl leaves out by default. ``use_kl_loss`` is how verl is asked for a reference; its term is
        part of the loss that ours replaces."""
        with open_dict(config):
            actor, rollout = config.actor_rollout_ref.actor, config.actor_rollout_ref.rollout
            actor.policy_loss.objective = self.block
            actor.use_kl_loss = self.reference
            if "entropy" in self.needs or self.control.signals & {"entropy", "entropy_seq"}:
                actor.calculate_entropy = True
            if "sampler_logps" in self.needs:
                rollout.calculate_log_probs = True


def _terms(objective: Objective) -> Iterator[Refusal]:
    """What the terms themselves say, for those that no catalogue knows."""
    for part in objective.parts:
        if isinstance(part.term, Penalty) and part.term.moves_reference:
            yield Refusal(f"objective.penalties.{part.name}", "verl's reference does not move", "keep the initial one")
        if isinstance(part.term, Weight) and part.term.passes > 1:
            yield Refusal(
                f"objective.weights.{part.name}", "verl does not tell a loss which epoch it is in", "leave it out"
            )
    if len(twice := objective.sampler_correctors) > 1:
        yield Refusal("objective", f"{twice[0].name} and {twice[1].name} both correct for the sampler", "keep one")


def _contradictions(config: DictConfig, settings: Settings, links: list[str]) -> Iterator[Refusal]:
    def at(key: str, default: Any = None) -> Any:
        value = OmegaConf.select(config, key)
        return default if value is None else value

    kind = settings.control.template.loss.term.aggregation
    if settings.mode != AGGREGATION[kind]:
        why = f"is {settings.mode}, and the objective's loss is of type {kind}"
        yield Refusal(f"{ACTOR}.loss_agg_mode", why, f"set it to {AGGREGATION[kind]}")
    if kind == "dr_grpo" and settings.scale is None:
        why = "verl would divide by the longest response of each micro-batch"
        yield Refusal(f"{ACTOR}.loss_scale_factor", why, f"set it to {settings.longest}, data.max_response_length")
    if at(f"{ACTOR}.strategy") not in ENGINES:
        why = f"{at(f'{ACTOR}.strategy')} divides losses on its own"
        yield Refusal(f"{ACTOR}.strategy", why, f"take {' or '.join(ENGINES)}")
    for key, off, ours in (
        (f"{ACTOR}.entropy_coeff", 0, "state objective.penalties.entropy_bonus"),
        (f"{ACTOR}.use_kl_loss", False, "state objective.penalties.kl_ref"),
        ("distillation.enabled", False, "leave distillation to verl's own trainer"),
        ("algorithm.rollout_correction.bypass_mode", False, "let verl compute old log-probs"),
        ("algorithm.rollout_correction.rollout_is", None, "state objective.weights.truncated_is"),
        ("algorithm.rollout_correction.rollout_rs", None, "state objective.weights.rejection"),
    ):
        if at(key, off) != off:
            yield Refusal(key, f"is {at(key)}, and the objective replaces verl's loss", f"set it to {off}; {ours}")
    yield from _advantages(at, settings)
    sizes = [at(f"{REF}.log_prob_micro_batch_size{end}") for end in ("", "_per_gpu")]
    if settings.reference and sizes == [None, None] and not at(f"{REF}.log_prob_use_dynamic_bsz", False):
        yield Refusal(f"{REF}.log_prob_micro_batch_size_per_gpu", "the objective reads a reference", "set it")
    if "sum_p2" in settings.needs and at("actor_rollout_ref.model.use_fused_kernels", False):
        yield Refusal("actor_rollout_ref.model.use_fused_kernels", "these kernels give no sum_p2", "set it to false")
    for link in links:
        if at(VERLS[link]) is not True:
            yield Refusal(VERLS[link], f"objective.data.{link} is verl's own filter", "set it to true, with its metric")


def _advantages(at: Any, settings: Settings) -> Iterator[Refusal]:
    if not settings.estimates:
        return
    name = settings.control.template.advantages[0].name
    if at("algorithm.adv_estimator") == "gae" and at("critic.enable") is not False:
        why = f"would train a critic beside objective.advantages.{name}"
        yield Refusal("algorithm.adv_estimator", why, "set it to grpo, which is then not used")
    if at("algorithm.use_kl_in_reward", False):
        why = f"objective.advantages.{name} does not see verl's reward"
        yield Refusal("algorithm.use_kl_in_reward", why, "set it to false; state objective.advantages.kl_reward")
