"""Faults of an evaluation: what it asks, how it samples, who draws for it, what it costs, and of what it opens."""

from __future__ import annotations

from mutation.mutants import fault

RENDERING = ("tests/contract/test_rendering.py",)
ENGINE = ("tests/contract/test_evaluation_engine.py",)
SAMPLING = ("tests/contract/test_evaluation_sampling.py",)
COST = ("tests/unit/test_recipe_evaluated.py",)
ALONE = ("tests/e2e/test_evaluate_command.py",)

READ, DRAWS, BY_VLLM, RUN = (
    *("trainers/evaluation/rendering", "trainers/evaluation/draws", "trainers/evaluation/engine"),
    "trainers/measurement",
)
TOLD = "entropostat/recipe/evaluated"

EVALUATED = (
    fault("forgets the template's words", READ, "= dict(chat_template_kwargs or {})", "= {}", RENDERING),
    fault("takes thoughts for answers", READ, "elif parsed:", "elif False:", RENDERING),
    fault("samples at 1", DRAWS, '("temperature", "top_p", "top_k", "min_p")', '("top_p", "top_k", "min_p")', SAMPLING),
    fault("samples without ours", DRAWS, "processors=settings.processors(), ", "", SAMPLING),
    fault("forgets the penalty", DRAWS, '{**settings.decoding, "repetition_penalty": settings.repetition_penalty}', "dict(settings.decoding)", SAMPLING),
    fault("has no min_p", RUN, "min_p=sampler.min_p", "min_p=None", SAMPLING),
    fault("heats ours as training does", RUN, "processors(sampler, drawn.temperature)", "processors(sampler, sampler.temperature)", SAMPLING),
    fault("tells the entropy at 1", "trainers/evaluation/entropy", "logits.float() / temperature", "logits.float()", SAMPLING),
    fault("sends no weights", BY_VLLM, "    engine.sync_weights()\n", "", ENGINE),
    fault("is always greedy", BY_VLLM, "_set(engine, settings, greedy=False)", "_set(engine, settings, greedy=True)", ENGINE),
    fault("has one seed for all samples", BY_VLLM, ' if name != "seed"', "", ENGINE),
    fault("asks for its own alone", BY_VLLM, "(rows - len(mine.prompts))", "0", ENGINE),
    fault("keeps what fills up", BY_VLLM, "samples[: count * settings.samples]", "samples", ENGINE),
    fault("leaves the engine changed", BY_VLLM, "vars(engine).update(before)", "pass", ENGINE),
    fault("asks no engine", RUN, "if trainer.use_vllm else None", "if False else None", ENGINE),
    fault("follows no number", TOLD, "trained = sampler.temperature if fixed is None else fixed", "trained = sampler.temperature", COST),
    fault("takes 0 for null", TOLD, "top_k=sampler.top_k if block.top_k is None else block.top_k", "top_k=block.top_k or sampler.top_k", COST),
    fault("counts no greedy ones", TOLD, "(block.samples + block.greedy)", "block.samples", COST),
    fault("counts the sources alone", TOLD, "    prompts |= {name: _most", "    _ = {name: _most", COST),
    fault("forgets the start", TOLD, "2 + ((total - 1)", "1 + ((total - 1)", COST),
    fault("evaluates at the end twice", TOLD, "((total - 1) // block.every", "(total // block.every", COST),
    fault("opens damaged checkpoints", "trainers/alone", "(folder / MANIFEST).is_file() and", "False and", ALONE),
    fault("opens the recipe's own instead", "trainers/alone", "path = find_model(opened)", "path = find_model(recipe)", ALONE),
)  # fmt: skip
