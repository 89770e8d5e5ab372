"""A function of the user's."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("function", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class Function(Verifier):
    """Calls ``module:attribute(completion, example, **options) -> float | None`` of the user's own code.

    A recipe is data, and data must not run code by being opened: this verifier is refused unless the command line
    says ``--allow-code``.
    """

    path: str = option(doc="module:attribute")
    options: dict[str, Any] = option(factory=dict, doc="keyword arguments of the function")  # noqa: RUF009

    def __post_init__(self) -> None:
        module, _, attribute = self.path.partition(":")
        if not module or not attribute:
            raise ValueError(f"verifier function: path {self.path!r} must be module:attribute, e.g. my_rewards:score")

    @property
    def user_code(self) -> str | None:
        return self.path.partition(":")[0]

    @property
    def isolated(self) -> bool:
        return True

    def score(self, completion: str, example: Example) -> float | None:
        return resolve(self.path)(completion, example, **self.options)


@lru_cache(maxsize=16)
def resolve(path: str) -> Callable[..., float | None]:
    """Import ``module:attribute``."""
    module, _, attribute = path.partition(":")
    function = getattr(importlib.import_module(module), attribute, None)
    if not callable(function):
        raise TypeError(f"verifier function: {module} has no function {attribute!r}")
    return function  # type: ignore[no-any-return]
