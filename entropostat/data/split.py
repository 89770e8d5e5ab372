"""Which prompts are held out: decided by a hash of the prompt's text alone.

So no seed, no size, no order and no other source can move a prompt to the other side, and whatever trains (pre-training
too) can ask about a prompt without seeing the whole data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from entropostat.data.example import DataError, Example


@dataclass(frozen=True)
class Split:
    """Examples by source; no prompt text is on both sides, not even across sources."""

    train: dict[str, list[Example]]
    held_out: dict[str, list[Example]]


def is_held_out(text: str, share: float) -> bool:
    """True for a fixed ``share`` of all texts."""
    return int.from_bytes(hashlib.sha1(text.strip().encode()).digest(), "big") < share * 2**160


def split(sources: Mapping[str, Iterable[Example]], share: float, exclude: Iterable[Example] = ()) -> Split:
    """Hold ``share`` of the prompts out. What asks the same as an example in ``exclude`` (a benchmark) is dropped."""
    tested = {example.text.strip() for example in exclude}
    train: dict[str, list[Example]] = {}
    held_out: dict[str, list[Example]] = {}
    for name, examples in sources.items():
        kept = [example for example in examples if example.text.strip() not in tested]
        sides = [is_held_out(example.text, share) for example in kept]
        train[name] = [example for example, out in zip(kept, sides, strict=True) if not out]
        held_out[name] = _distinct([example for example, out in zip(kept, sides, strict=True) if out])
        if not train[name]:
            raise DataError(f"data.sources.{name}: no prompt is left to train on; lower data.held_out or add prompts")
        if share > 0 and not held_out[name]:
            raise DataError(
                f"data.sources.{name}: none of its {len(kept)} prompts is held out; raise data.held_out ({share:g}) "
                "or add prompts"
            )
    return Split(train, held_out)


def _distinct(examples: list[Example]) -> list[Example]:
    """Each prompt once: a repeated one would count twice in pass@k."""
    return list({example.text.strip(): example for example in reversed(examples)}.values())[::-1]
