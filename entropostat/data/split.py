"""Which prompts are held out: decided by a hash of the prompt's text alone.

So no seed, no size, no order and no other source can move a prompt to the other side, and whatever trains (pre-training
too) can ask about a prompt without seeing the whole data.
"""

from __future__ import annotations

import hashlib


def is_held_out(text: str, share: float) -> bool:
    """True for a fixed ``share`` of all texts."""
    return int.from_bytes(hashlib.sha1(text.strip().encode()).digest(), "big") < share * 2**160
