"""The prompts of a table as the token ids that the policy is asked, by the calls of TRL's own trainer. Imports neither TRL nor torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def token_ids(
    prompts: Sequence[Any], tokenizer: Any, template_options: Mapping[str, Any] | None = None
) -> list[list[int]]:
    """One row of ids a prompt: text as it stands, conversations by the tokenizer's chat template, begun for the assistant.

    ``prompts`` is the column of ``to_dataset``, all texts or all conversations; ``template_options`` are trainer.chat_template_kwargs.
    """
    if not prompts:
        return []
    if isinstance(prompts[0], str):
        return [list(ids) for ids in tokenizer(text=list(prompts))["input_ids"]]
    asked = tokenizer.apply_chat_template(
        conversation=list(prompts),
        tools=None,
        chat_template=None,
        add_generation_prompt=True,
        tokenize=True,
        return_dict=True,
        **(template_options or {}),
    )
    return [list(ids) for ids in asked["input_ids"]]
