"""Lints of the prompts: the form in which the policy is asked, and how long they are."""

from __future__ import annotations

from collections.abc import Iterator

from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.chat_template import has_template, instructed
from entropostat.recipe.lint import Lint
from entropostat.recipe.lints.case import Case, Rule

TEXT = ("chain", "reasoning_gym")
"""Sources whose prompts are text. Those of the others may be messages, which nothing is wrong with."""


def without_template(case: Case) -> Iterator[Lint]:
    model, data = case.recipe.model, case.recipe.data
    template = has_template(model)
    if data.system is not None or template is False or not (template or instructed(model)):
        return
    text = any(term.kind in TEXT for term in case.recipe.sources.values())
    asked = "prompts are plain text" if text else "prompts that are plain text and not messages"
    what = f"{asked}, and the model is given them" if text else f"{asked} are given to the model"
    if instructed(model):
        message = f"{what} without the chat template in which it was taught to answer"
        yield Lint("warning", "data.system", message, 'set it to "" for the template alone, or to a system prompt')
    else:
        message = f"{what} without its tokenizer's chat template, which suits a base model alone"
        yield Lint("note", "data.system", message, 'set it to "" for the template, or to a system prompt')


def no_template(case: Case) -> Iterator[Lint]:
    if case.recipe.data.system is not None and has_template(case.recipe.model) is False:
        message = "makes conversations of all prompts, and the model's tokenizer has no chat template to say them in"
        yield Lint("error", "data.system", message, "set it to null, or give the tokenizer a template")


def beyond_the_context(case: Case) -> Iterator[Lint]:
    recipe = case.recipe
    longest, completion = recipe.data.max_prompt_tokens, trainer_value(recipe, "max_completion_length")
    context = recipe.trainer.get("vllm_max_model_length") if trainer_value(recipe, "use_vllm") else None
    if longest is not None and context is not None and longest + (completion or 0) > context:
        message = f"{longest} and a completion of {completion} are more than trainer.vllm_max_model_length ({context})"
        yield Lint("warning", "data.max_prompt_tokens", message, "lower one of the two, or raise the third")
    evaluated = recipe.evaluate.max_new_tokens
    if context is not None and evaluated is not None and (longest or 1) + evaluated > context:
        message = f"{evaluated}: vLLM ends completions where prompt and completion have trainer.vllm_max_model_length ({context})"
        yield Lint("warning", "evaluate.max_new_tokens", message, "lower it, or raise the other")


RULES: tuple[Rule, ...] = (without_template, no_template, beyond_the_context)
