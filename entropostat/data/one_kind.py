"""A run's prompts are all texts or all conversations: TRL takes the first of a batch for the kind of all of them."""

from __future__ import annotations

from collections.abc import Iterable

from entropostat.data.example import DataError, Example


def check_one_kind(examples: Iterable[tuple[str, Example]]) -> None:
    """``examples``: (name of the source, example). Raises DataError, which names a source of each kind."""
    kinds: dict[bool, str] = {}
    for source, example in examples:
        kinds.setdefault(isinstance(example.prompt, str), source)
    if len(kinds) > 1:
        raise DataError(
            f"data.sources: prompts are texts in {kinds[True] or 'one'} and conversations in {kinds[False] or 'another'}, and a run "
            'has one kind; set data.system (also to "") to make all conversations, or give every source a chat_template'
        )
