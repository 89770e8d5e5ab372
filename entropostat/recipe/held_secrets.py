"""Secrets in a recipe. Recipes are shared and copied into run folders, batch scripts and trackers, so no secret may be in one."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache

from entropostat.recipe.errors import Problem
from entropostat.recipe.owned import FORMER
from entropostat.recipe.source import Value
from entropostat.secrets import HEX, redacted, secret_in, value_of_secret

ELSEWHERE = "a recipe may hold no secret; put it into the environment (HF_TOKEN, WANDB_API_KEY, ...)"
OF_A_JOB = (
    "a recipe may hold no secret; export it where you call `entropostat submit`, or let slurm.setup source a file that "
    "only you can read"
)
PROSE = {"system", "prompt", "template", "instruction"}
"""Keys of text for the policy."""
HASHES = {"revision", "hub_revision", "commit", "sha", "hash"}
"""Keys at which 40 hexadecimal digits are a commit. Elsewhere they are a wandb key."""

Path = tuple[str, ...]


def held_secrets(value: Value, path: Path = ()) -> Iterator[Problem]:
    """No message repeats a secret."""
    if isinstance(value.content, dict):
        for key, item in value.content.items():
            below = (*path, key)
            if key not in FORMER and value_of_secret(key, item.plain):
                yield Problem(item.origin, ".".join(below), _where(below))
            elif _secret(key):
                yield Problem(item.origin, ".".join(below), f"this key is a secret; {_where(below)}")
            else:
                yield from held_secrets(item, below)
    elif isinstance(value.content, list):
        for index, item in enumerate(value.content):
            yield from held_secrets(item, (*path, str(index)))
    elif isinstance(value.content, str) and (what := _found(value.content, path)):
        yield Problem(value.origin, ".".join(path), f"holds what looks like {what}; {_where(path)}")


@lru_cache(maxsize=1024)
def _secret(key: str) -> bool:
    return redacted(key, hashes=True) != key


def _found(text: str, path: Path) -> str | None:
    keys = [key for key in path if not key.isdigit()]
    if HEX.fullmatch(text.strip()) and not HASHES.intersection(keys[-1:]):
        return "a wandb key"
    return secret_in(text, prose=bool(PROSE.intersection(keys[-1:])))


def _where(path: Path) -> str:
    return OF_A_JOB if path[:1] == ("slurm",) else ELSEWHERE
