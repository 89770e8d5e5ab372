"""Names of what holds a secret, and those that are one letter away from them."""

from __future__ import annotations

import re
from functools import lru_cache

SECRET = re.compile(
    r"(?:^|_)(?:token|api_?key|access_key|secret|private_key|passwo?r?d|passphrase|pwd|credentials?|authorization)(?:_key)?$"
)
OF_THE_TOKENIZER = re.compile(
    r"(?:^|_)(?:stop|eos|bos|pad|unk|sep|cls|mask|start|end|special|added|extra|image|audio|video|tool|think|next|per)_token$"
)
"""Its tokens are no secrets."""
NAMES = (
    *("token", "secret", "password", "passwd", "passphrase", "credential", "credentials", "authorization"),
    *("api_key", "apikey", "access_key", "secret_key", "private_key", "access_token", "auth_token", "hub_token", "hf_token"),
    *("wandb_key", "wandb_api_key", "bearer_token"),
)  # fmt: skip
COUNTED = {"tokens", "token"}
LONG = 9
"""Letters of a name from which two may be wrong, and not one."""


def words(name: str) -> list[str]:
    """hub-token, hub_token and hubToken: ['hub', 'token']."""
    spread = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return [word for word in re.split(r"[^A-Za-z0-9]+", spread.lower()) if word]


def names_secret(name: str) -> bool:
    joined = "_".join(words(name))
    return SECRET.search(joined) is not None and OF_THE_TOKENIZER.search(joined) is None


@lru_cache(maxsize=1024)
def resembles_secret(name: str) -> bool:
    """Misspelt by a letter or two. ``max_tokens`` is a number of tokens."""
    parts = words(name)
    if not parts or parts[-1] in COUNTED:
        return False
    near = {"_".join(parts), "_".join(parts[-2:]), parts[-1]}
    return any(
        abs(len(tail) - len(known)) <= 2 and _distance(tail, known) <= (1 if len(known) < LONG else 2)
        for tail in near
        for known in NAMES
    )


def _distance(left: str, right: str) -> int:
    """Letters missing, too many, wrong or swapped with their neighbour."""
    before: list[int] = []
    row = list(range(len(right) + 1))
    for i, a in enumerate(left, 1):
        older, before, row = before, row, [i]
        for j, b in enumerate(right, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
            if i > 1 and j > 1 and a == right[j - 2] and left[i - 2] == b:
                row[-1] = min(row[-1], older[j - 2] + 1)
    return row[-1]
