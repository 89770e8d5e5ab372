"""From an objective to the fields of TRL's config that it owns."""

from __future__ import annotations

import copy
from typing import Any

from trl import GRPOConfig

from entropostat.recipe.signals import REFERENCE
from entropostat.rl.control import Control
from entropostat.trainers.decoding import check_generation_kwargs

REFERENCE_BETA = 1e-8
"""Any beta above 0 makes TRL load a reference model and score it; the mixin sets beta to 0 inside the loss."""

DELEGATED_FIELDS = (
    "epsilon",
    "epsilon_high",
    "delta",
    "importance_sampling_level",
    "sapo_temperature_pos",
    "sapo_temperature_neg",
    "vespo_k_pos",
    "vespo_lambda_pos",
    "vespo_k_neg",
    "vespo_lambda_neg",
    "off_policy_mask_threshold",
)


def needs_reference(control: Control) -> bool:
    """Whether a term or a controller reads the reference policy."""
    objective = control.template
    return "ref_logps" in objective.needs | objective.rollout_needs or bool(control.signals & REFERENCE)


def owned_fields(control: Control) -> dict[str, Any]:
    """TRL field -> value, for every field that the objective decides."""
    objective = control.template
    loss = objective.loss.term
    fields: dict[str, Any] = {"loss_type": loss.aggregation}
    if needs_reference(control):
        fields["beta"] = REFERENCE_BETA
    if loss.delegated:
        fields |= {name: getattr(loss, name) for name in DELEGATED_FIELDS}
    if objective.advantages and hasattr(objective.advantages[0].term, "scale"):
        # Ours replace TRL's advantages; the same scaling keeps its logged std and zero-std share meaningful.
        fields["scale_rewards"] = objective.advantages[0].term.scale
    if objective.advantages:
        first = objective.advantages[0].term
        fields["multi_objective_aggregation"] = getattr(first, "multi_objective_aggregation", "sum_then_normalize")
    return fields


def configure(args: GRPOConfig | None, control: Control) -> GRPOConfig:
    """A copy of ``args`` with the owned fields written. Raises ValueError for a second KL to the reference."""
    args = copy.copy(args) if args is not None else GRPOConfig(output_dir="runs")
    check_generation_kwargs(args)
    sampler = control.template.sampler
    if sampler is not None and sampler.term.replaces and args.use_vllm and args.vllm_importance_sampling_correction:
        raise ValueError(
            f"vllm_importance_sampling_correction: true would undo the temperature of the rows that "
            f"objective.penalties.{sampler.name} puts in. Set it to false, or the term's `reference` to false."
        )
    for part in control.template.parts:
        if getattr(part.term, "sampling_temperature", args.temperature) != args.temperature:
            raise ValueError(
                f"objective: {part.name}.sampling_temperature {part.term.sampling_temperature:g} is not the trainer's "
                f"temperature, {args.temperature:g}: write that"
            )
    if args.beta not in (0.0, REFERENCE_BETA) and needs_reference(control):
        raise ValueError(
            f"beta: {args.beta:g} adds TRL's KL to the reference to one of the objective's. Set beta to 0 and "
            "objective.penalties.kl_ref.coef to the size you want."
        )
    for name, value in owned_fields(control).items():
        setattr(args, name, value)
    return args


def check_supported(control: Control) -> None:
    """Refuse the combinations that would train something else than what the recipe says. Raises ValueError."""
    objective = control.template
    heated = objective.scalar("temperature") is not None
    if heated and "lse" in objective.needs | objective.rollout_needs:
        name = next(part.name for part in objective.parts if "lse" in part.needs | part.rollout_needs)
        raise ValueError(
            f"objective.scalars.temperature: {name} compares temperatures of its own with a constant one. Set "
            "sampler.temperature instead."
        )
    sampler = objective.sampler
    if sampler is not None and sampler.term.replaces:
        others = [p.name for p in (*objective.weights, *objective.penalties) if p is not sampler]
        if others or needs_reference(control):
            raise ValueError(
                f"objective.penalties.{sampler.name}.reference: true replaces rows of the generation after the other "
                f"terms have measured it, which {others[0] if others else 'the reference policy'} would not notice. "
                "Set it to false, or keep this term alone."
            )
    loss = objective.loss.term
    if loss.delegated and loss.importance_sampling_level == "sequence" and objective.weights:
        raise ValueError(
            f"objective.loss.trl.importance_sampling_level: 'sequence' with the token weight "
            f"{objective.weights[0].name!r}: one ratio per sequence leaves every token the same gradient, weight 0 "
            "included. Use 'token', or drop the weight."
        )
