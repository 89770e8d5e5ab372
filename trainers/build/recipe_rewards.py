"""The reward models of a recipe, found or built, and given to the scorer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from trl import GRPOConfig

from entropostat.data.dataset import Rows
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term
from entropostat.reward.columns import columns
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.trainers.build.preferences import build_reward
from entropostat.trainers.build.reward_model import attach


def load_verifiers(recipe: Recipe, allow_code: bool) -> Scorer:
    """The verifiers of a recipe. Raises for what they cannot import, before anything large is loaded."""
    scorer = Scorer(_built(recipe), allow_code=allow_code, sources=list(recipe.sources))
    try:
        scorer.check()
    except BaseException:
        scorer.close()
        raise
    return scorer


def reward_weights(recipe: Recipe) -> list[float]:
    """Of the reward functions that the verifiers are to the trainer."""
    return [column.weight for column in columns(_built(recipe), list(recipe.sources))]


def _built(recipe: Recipe) -> dict[str, Verifier]:
    return {term.name: VERIFIERS.build(term.kind, term.options) for term in recipe.reward}


def load_rewards(recipe: Recipe, scorer: Scorer, pools: Mapping[str, Rows], policy: str, config: GRPOConfig) -> None:
    """Every rank loads its own copy. A model that the recipe has built learns from prompts of the training side alone."""
    judges = [term for term in recipe.reward if not scorer.verifiers[term.name].learned]
    paths: dict[str, str | Path] = {}
    for term in recipe.reward:
        if term.options.get("build") is not None:
            asked = [example for pool in pools.values() for example in pool]
            tokens = config.max_completion_length or 0
            options, stop, chat = term.options["build"], recipe.sampler.stop, config.chat_template_kwargs
            assert not isinstance(chat, str)  # the config has read it
            mine = [e for e in asked if scorer.verifiers[term.name].judges(e.source) and scorer.judge(e.source)]
            paths[term.name] = build_reward(options, policy, mine, judges, tokens, recipe.seed, stop, chat)
        elif term.kind == "model":
            paths[term.name] = _beside(recipe, term)
    attach(scorer, paths, config.device, config.deepspeed_plugin)


def _beside(recipe: Recipe, term: Term) -> str:
    """A relative path starts at the recipe, as a data file's does; what is no folder there is left to transformers."""
    path = str(term.options["path"])
    folder = recipe.folder / path
    return str(folder) if folder.is_dir() else path
