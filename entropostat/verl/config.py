"""Our block in verl's configuration, in place of ``actor_rollout_ref.actor.policy_loss``:

    actor_rollout_ref.actor.policy_loss._target_=entropostat.verl.PolicyLoss
    +actor_rollout_ref.actor.policy_loss.objective=recipe.yaml

verl makes it one wherever it reads the actor's configuration, first of all before Ray starts: there a wrong objective, and one that
verl cannot carry, is refused. No import of ours may fail silently here, as hydra raises what it raises.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from omegaconf import OmegaConf
from verl.trainer.ppo.core_algos import POLICY_LOSS_REGISTRY, register_policy_loss
from verl.workers.config import PolicyLossConfig

from entropostat.recipe import RecipeError, load
from entropostat.recipe.objective import spec_of
from entropostat.recipe.recipe import Recipe
from entropostat.verl import plugin
from entropostat.verl.carries import Refusal, refusals

MODE = "entropostat"
BLOCK = "actor_rollout_ref.actor.policy_loss"
POLICYS = "model."
"""Keys of a recipe that say which policy is trained, which here verl's own block does."""


@dataclass
class PolicyLoss(PolicyLossConfig):
    """verl's own keys have no effect but ``rollout_correction``'s, which must stay off."""

    objective: Any = None
    """A recipe's path, of which the block ``objective`` counts, or that block itself."""
    seed: int = 0
    """Of random selections of tokens."""
    loss_mode: str = MODE

    def __post_init__(self) -> None:
        plugin.install()  # also where VERL_USE_EXTERNAL_PLUGINS has left it out
        if self.loss_mode not in (MODE, PolicyLossConfig.loss_mode):
            raise ValueError(f"{BLOCK}.loss_mode: {self.loss_mode} would be replaced by the objective; leave it out")
        object.__setattr__(self, "loss_mode", MODE)
        if isinstance(self.seed, bool) or not isinstance(self.seed, int):
            raise ValueError(f"{BLOCK}.seed: must be a whole number, not {self.seed!r}")  # noqa: TRY004  (as every wrong key)
        objective_of(self.objective)


def objective_of(given: Any) -> dict[str, Any]:
    """Slot -> terms; raises ValueError with a line for everything that is wrong, or that verl cannot carry."""
    if given is None:
        raise ValueError(f"{BLOCK}.objective: missing; give a recipe's path, or the block objective of one")
    plain = OmegaConf.to_container(given, resolve=True) if OmegaConf.is_config(given) else given
    try:
        read: Recipe | dict[str, Any] = load(plain) if isinstance(plain, str) else spec_of(plain)
    except RecipeError as error:
        raise ValueError(f"{BLOCK}.objective:\n{error}") from error
    except ValueError as error:
        raise ValueError(f"{BLOCK}.{error}") from error
    if problems := [problem for problem in refusals(read) if not problem.key.startswith(POLICYS)]:
        raise ValueError(f"{BLOCK}.objective: verl cannot carry all of it\n{told(problems)}")
    return dict(read.objective if isinstance(read, Recipe) else read)


def told(problems: list[Refusal]) -> str:
    return "\n".join(f"  {problem}" for problem in problems)


def as_block(objective: Mapping[str, Any]) -> dict[str, Any]:
    """Slots of terms as they stand in a recipe, so that workers need no file."""

    def one(term: tuple[str, str, Mapping[str, Any]]) -> dict[str, Any]:
        name, kind, options = term
        return {kind: dict(options) if name == kind else {**options, "name": name}}

    slots = {slot: terms for slot, terms in objective.items() if terms}
    return {slot: one(terms) if slot == "loss" else [one(term) for term in terms] for slot, terms in slots.items()}


if MODE not in POLICY_LOSS_REGISTRY:

    @register_policy_loss(MODE)
    def _without_our_trainer(*args: Any, **kwargs: Any) -> Any:
        """Another trainer keeps verl's loss, which would look this one up."""
        raise RuntimeError(
            f"{BLOCK}: the objective needs our trainer; set trainer.v1.trainer_mode=entropostat, "
            "entropostat_colocate_async or entropostat_separate_async"
        )
