"""The reward models of a recipe, found or built, and given to the scorer."""

from __future__ import annotations

from pathlib import Path

from trl import GRPOConfig

from entropostat.data.dataset import with_system
from entropostat.data.split import Split
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.terms import Term
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer
from entropostat.trainers.build.preferences import build_reward
from entropostat.trainers.build.reward_model import attach


def load_verifiers(recipe: Recipe, allow_code: bool) -> Scorer:
    """The verifiers of a recipe. Raises for what they cannot import, before anything large is loaded."""
    scorer = Scorer({t.name: VERIFIERS.build(t.kind, t.options) for t in recipe.reward}, allow_code=allow_code)
    try:
        scorer.check()
    except BaseException:
        scorer.close()
        raise
    return scorer


def load_rewards(recipe: Recipe, scorer: Scorer, pools: Split, policy: str, config: GRPOConfig) -> None:
    """Every rank loads its own copy. A model that the recipe has built learns from prompts of the training side alone."""
    asked = [with_system(example, recipe.data.system) for pool in pools.train.values() for example in pool]
    judge = next((term for term in recipe.reward if term.name == scorer.judge), None)
    paths: dict[str, str | Path] = {}
    for term in recipe.reward:
        if term.options.get("build") is not None:
            assert judge is not None
            tokens = config.max_completion_length or 0
            options, stop, chat = term.options["build"], recipe.sampler.stop, config.chat_template_kwargs
            assert not isinstance(chat, str)  # the config has read it
            paths[term.name] = build_reward(options, policy, asked, judge, tokens, recipe.seed, stop, chat)
        elif term.kind == "model":
            paths[term.name] = _beside(recipe, term)
    attach(scorer, paths, config.device, config.deepspeed_plugin)


def _beside(recipe: Recipe, term: Term) -> str:
    """A relative path starts at the recipe, as a data file's does; what is no folder there is left to transformers."""
    path = str(term.options["path"])
    folder = recipe.folder / path
    return str(folder) if folder.is_dir() else path
