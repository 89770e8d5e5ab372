"""The text of one token."""

from __future__ import annotations

from typing import Any

METASPACE = "▁"
"""How sentencepiece writes a space before a token; decoding the token alone drops it."""


def piece(tokenizer: Any, token: int) -> str:
    """As it stands in a text, with its space."""
    text: str = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    spaced = str(tokenizer.convert_ids_to_tokens(token)).startswith(METASPACE) and not text.startswith(" ")
    return f" {text}" if spaced else text
