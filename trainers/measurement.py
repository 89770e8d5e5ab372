"""How a recipe's policy is measured on held-out prompts: during training, at its end, and alone."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from accelerate.utils import gather_object
from trl.models import unwrap_model_for_generation

from entropostat.data.example import Example
from entropostat.recipe.evaluated import sampling
from entropostat.recipe.recipe import Recipe
from entropostat.reward.scoring import Scorer
from entropostat.trainers.build.policy import load_policy
from entropostat.trainers.evaluation.draws import EvaluateSettings, chunked
from entropostat.trainers.evaluation.engine import drawn_by_engine
from entropostat.trainers.evaluation.measure import evaluate
from entropostat.trainers.model.shards import gathered
from entropostat.trainers.rollout.processors import processors


def measurement(
    recipe: Recipe, trainer: Any, scorer: Scorer, tests: Mapping[str, Sequence[Example]], path: str
) -> Callable[[], dict[str, float]]:
    """A function that evaluates the policy as it is, on all ranks together. ``path`` is where the initial one lies."""
    block, settings = recipe.evaluate, evaluate_settings(recipe, trainer, scorer, tests)
    reference: Any = None if trainer.anchor.moves else trainer.ref_model
    if block.reference and reference is None:
        reference = load_policy(recipe, path).to(trainer.accelerator.device).eval()

    def measure() -> dict[str, float]:
        if not block.prompts or not tests:
            return {}
        accelerator = trainer.accelerator
        share = {"rank": accelerator.process_index, "world": accelerator.num_processes}
        chunks = chunked(tests, settings, trainer)
        draw = drawn_by_engine(trainer, chunks, settings, **share) if trainer.use_vllm else None
        # Under ZeRO-3 both models are gathered here: ranks evaluate different prompts, so nothing may be sharded.
        with contextlib.ExitStack() as stack:
            model = stack.enter_context(unwrap_model_for_generation(trainer.model_wrapped, accelerator))
            frozen = reference
            if block.reference and reference is trainer.ref_model:
                frozen = stack.enter_context(unwrap_model_for_generation(reference, accelerator))
            elif block.reference:
                stack.enter_context(gathered(reference))
            return evaluate(
                model,
                trainer.processing_class,
                chunks,
                scorer.verify,
                settings,
                draw=draw,
                asking=trainer,
                learned=scorer.learned,
                reference=frozen if block.reference else None,
                gather_object=gather_object if accelerator.num_processes > 1 else lambda records: records,
                **share,
            )

    return measure


def evaluate_settings(recipe: Recipe, trainer: Any, scorer: Scorer, tests: Iterable[str]) -> EvaluateSettings:
    block, drawn, sampler = recipe.evaluate, sampling(recipe), recipe.sampler
    return EvaluateSettings(
        max_new_tokens=drawn.max_new_tokens,
        prompts=block.prompts,
        samples=block.samples,
        k=tuple(block.k),
        greedy=block.greedy,
        seed=block.seed,
        by_set={name: {"strategies": scorer.strategies(name), "judged": bool(scorer.judge(name))} for name in tests},
        stop=tuple(trainer.eos_token_ids),
        temperature=drawn.temperature,
        top_p=drawn.top_p,
        top_k=drawn.top_k,
        min_p=sampler.min_p,
        repetition_penalty=sampler.repetition_penalty,
        processors=lambda: processors(sampler, drawn.temperature),
        decoding=trainer.decoding,
    )
