"""One prompt with what is needed to verify an answer to it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

Message = Mapping[str, str]
Prompt = str | Sequence[Message]
Completion = str | Sequence[Message]

ALTERNATIVES = "other accepted answers"
"""Key of ``meta``: a list of texts, each as right as the answer itself."""


class DataError(ValueError):
    """Bad data or bad options of a source, in one line that names the place and the fix."""


@dataclass(frozen=True)
class Example:
    """A prompt, its reference answer, and whatever else its verifier reads."""

    prompt: Prompt
    """Text, or chat messages with ``role`` and ``content``."""
    answer: str | None = None
    """None where only a program can judge the completion."""
    meta: Mapping[str, Any] = field(default_factory=dict)
    """JSON only: it travels through the trainer's dataset as a string."""
    id: str = ""
    source: str = ""
    """Its name in ``data.sources`` or ``evaluate.sets``: which verifiers judge it."""
    asked: str | None = None
    """What is asked, where the prompt is a text that a chat template has rendered."""
    settled: bool = False
    """The system prompt, or its rendering, is its source's own: ``data.system`` leaves it alone."""

    @property
    def text(self) -> str:
        """What is asked, without chat roles and system prompt."""
        return text_of(self.prompt) if self.asked is None else self.asked

    @property
    def accepted(self) -> list[Example]:
        """One for each answer that counts as right."""
        others = self.meta.get(ALTERNATIVES, ())
        return [self, *(replace(self, answer=other) for other in others)]


def text_of(prompt: Prompt) -> str:
    """The text itself, or the content of the last user message."""
    if isinstance(prompt, str):
        return prompt
    asked = [message["content"] for message in prompt if message["role"] == "user"]
    if not asked:
        raise DataError("a conversational prompt has no message with the role 'user'; add one")
    return asked[-1]


def identifier(kind: str, text: str, index: int) -> str:
    """Readable, stable from run to run, and unique within a source even where two rows ask the same."""
    return f"{kind}/{index}-{hashlib.sha1(text.encode()).hexdigest()[:8]}"
