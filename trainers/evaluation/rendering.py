"""Prompts as token ids, and completions as verifiers read them: by TRL's own code, as in training. There is no second way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase
from trl import GRPOTrainer
from trl.chat_template_utils import parse_response

from entropostat.data.example import Completion, Example


class Asking:
    """As much of TRL's trainer as its rendering reads, for who has no trainer."""

    environment_factories = None
    tools: Sequence[Any] = ()
    chat_template = None
    _is_vlm = False
    _tokenize_prompts = GRPOTrainer._tokenize_prompts

    def __init__(
        self, processing_class: PreTrainedTokenizerBase, chat_template_kwargs: Mapping[str, Any] | None = None
    ) -> None:
        self.processing_class = self._tokenizer = processing_class
        self.chat_template_kwargs = dict(chat_template_kwargs or {})


def rendered(asking: Any, examples: Sequence[Example]) -> list[list[int]]:
    """Token ids of each prompt, as the policy is asked in training. ``asking`` is a trainer of TRL's, or an ``Asking``.

    One by one: texts and conversations may stand side by side in a set.
    """
    asked = [e.prompt if isinstance(e.prompt, str) else [dict(message) for message in e.prompt] for e in examples]
    return [list(asking._tokenize_prompts([prompt])[0][0]) for prompt in asked]


def completed(
    asking: Any, examples: Sequence[Example], prompts: Sequence[list[int]], drawn: Sequence[list[int]]
) -> list[Completion]:
    """What TRL's trainer hands to a reward function, row by row: a text, or the message of a conversation.

    A tokenizer that knows how to read a response takes it apart, and a thought is then no part of what was said.
    """
    tokenizer = asking._tokenizer
    parsed = any(getattr(tokenizer, name, None) is not None for name in ("response_template", "response_schema"))
    texts = tokenizer.batch_decode(list(drawn), skip_special_tokens=True)
    made: list[Completion] = []
    for example, prompt, ids, text in zip(examples, prompts, drawn, texts, strict=True):
        if isinstance(example.prompt, str):
            made.append(text)
        elif parsed:
            made.append([parse_response(tokenizer, ids, prefix=prompt, tools=asking.tools)])
        else:
            made.append([{"role": "assistant", "content": text}])
    return made
