"""Where a completion ends: the tokenizer's end token, those of the model's generation config, and ``sampler.stop``."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from transformers import PreTrainedTokenizerBase


def stop_tokens(
    stop: Sequence[int | str] | int | str | None, tokenizer: PreTrainedTokenizerBase, key: str = "sampler.stop"
) -> list[int]:
    """Ids of what ``key`` says. Raises ValueError for an id that there is not, and for a text that is not one token.

    A token ends a completion, and not the text: one that holds more than the text does not.
    """
    items = [] if stop is None else [stop] if isinstance(stop, (int, str)) else stop
    return [_text(item, tokenizer, key) if isinstance(item, str) else _id(item, tokenizer, key) for item in items]


def _id(item: int, tokenizer: PreTrainedTokenizerBase, key: str) -> int:
    if not 0 <= item < len(tokenizer):
        raise ValueError(f"{key}: there is no token {item}: the tokenizer has {len(tokenizer)}, from 0")
    return item


def _text(item: str, tokenizer: PreTrainedTokenizerBase, key: str) -> int:
    """The token of that very name, else the one that the text is encoded to, where it decodes to the text again.

    The name comes first: some tokenizers encode a text as if a space came before it.
    """
    ids = tokenizer.encode(item, add_special_tokens=False)
    named = tokenizer.get_vocab().get(item)
    for candidate in (named, ids[0] if len(ids) == 1 else None):
        if candidate is not None and tokenizer.decode([candidate], clean_up_tokenization_spaces=False) == item:
            return int(candidate)
    reading = f"{len(ids)} tokens, {ids}" if len(ids) != 1 else f"token {ids[0]}, which reads otherwise"
    raise ValueError(f"{key}: {item!r} is not one token of this tokenizer, but {reading}; give the id of one token")


def ids_of(value: Any) -> list[int]:
    """None, an id or several, as GenerationConfig has them."""
    return [] if value is None else [int(i) for i in value] if isinstance(value, Iterable) else [int(value)]


def together(*parts: Any) -> list[int]:
    """All ids of ``parts``, each once, in their order; None is no id."""
    return list(dict.fromkeys(i for part in parts for i in ids_of(part)))
