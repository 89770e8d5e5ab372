"""TRL's losses under their names here: what a recipe delegates to TRL, computed by us where there is no TRL. Data alone, no torch.

    {trl: {type: dapo, epsilon: 0.2}}                              {ppo_clip: {type: dapo, epsilon: 0.2, clamp: null}}
    {trl: {type: cispo, epsilon_high: 5.0}}                        {cispo: {epsilon_high: 4.0}}
    {trl: {type: sapo, sapo_temperature_neg: 1.1}}                 {sapo: {tau_neg: 1.1}}
    {trl: {type: grpo, importance_sampling_level: sequence}}       {gspo: {type: grpo, epsilon: 0.2, epsilon_high: 0.2}}

Gradients are equal. The metrics are those of the term that computes the loss.
"""

from __future__ import annotations

from typing import Any

from entropostat.recipe.facts import option
from entropostat.recipe.terms import Term
from entropostat.rl.loss_types import CLIPPED


class NoCounterpart(ValueError):
    """No term of ours is this loss."""

    def __init__(self, key: str, why: str, fix: str) -> None:
        super().__init__(f"{key}: {why}; {fix}")
        self.key, self.why, self.fix = key, why, fix


def own_loss(loss: Term) -> Term:
    """The same loss without TRL; raises NoCounterpart. A loss of ours is itself, and keeps its name."""
    if loss.kind != "trl":
        return loss

    def given(key: str) -> Any:
        return option(loss, "loss", key)

    def none(key: str, why: str, fix: str) -> NoCounterpart:
        return NoCounterpart(f"objective.loss.{loss.name}.{key}", why, fix)

    kind = given("type")
    if given("off_policy_mask_threshold") is not None:
        raise none(
            "off_policy_mask_threshold",
            "the mask is TRL's",
            "take objective.weights.off_policy_mask, which is the same",
        )
    if kind in CLIPPED:
        return Term(loss.name, *_clipped(kind, given, none))
    if kind == "cispo":
        cap = given("epsilon_high")
        if isinstance(cap, dict) or cap is None or cap <= 1:
            why = f"TRL's cap of the weight is {'moved by a controller' if isinstance(cap, dict) else cap}"
            raise none("epsilon_high", why, "take objective.loss.cispo, whose cap is 1 + epsilon_high")
        return Term(loss.name, "cispo", {"type": "dapo", "epsilon_high": cap - 1})
    if kind == "sapo":
        taus = {"tau_pos": given("sapo_temperature_pos"), "tau_neg": given("sapo_temperature_neg")}
        return Term(loss.name, "sapo", {"type": "grpo", **taus})
    raise none("type", f"{kind} is computed by TRL alone", f"take one of {', '.join(CLIPPED)}, cispo, sapo")


def _clipped(kind: str, given: Any, none: Any) -> tuple[str, dict[str, Any]]:
    low, high, delta = given("epsilon"), given("epsilon_high"), given("delta")
    high = low if high is None else high
    bounds = {"type": kind, "epsilon": low, "epsilon_high": high}
    if given("importance_sampling_level") == "sequence":
        if delta is not None:
            raise none("delta", "GSPO has no cap for A < 0 here", "leave it out")
        if isinstance(low, dict) and high is low:
            raise none("epsilon", "one controller would move two bounds", "give epsilon_high its own value")
        return "gspo", bounds
    if given("epsilon_high") is None:
        bounds["epsilon_high"] = None
    if delta is None:
        return "ppo_clip", {**bounds, "clamp": None}
    if isinstance(high, dict) or delta < 1 + high:
        raise none("delta", "a cap within the clip holds A > 0, too", "raise it to 1 + epsilon_high or more")
    return "ppo_clip", {**bounds, "dual": delta, "clamp": None}
