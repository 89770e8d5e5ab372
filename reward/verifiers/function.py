"""A function of the user's."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from entropostat.data.example import Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.verifier import Verifier
from entropostat.rl.registry import option


@VERIFIERS.register("function", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class Function(Verifier):
    """Calls ``module:attribute(completion, example, **options) -> float | None`` of the user's own code.

    The module is looked for in the recipe's folder, then in the working directory, then among what is installed.
    A recipe is data, and data must not run code by being opened: this verifier is refused unless the command line
    says ``--allow-code``.
    """

    path: str = option(doc="module:attribute")
    folder: str | None = option(
        None, doc="where the module is looked for first; null: beside the recipe, if it is there"
    )
    options: dict[str, Any] = option(factory=dict, doc="keyword arguments of the function")  # noqa: RUF009

    compares = False

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

    def prepare(self) -> None:
        resolve(self.path, self.folder)

    def score(self, completion: str, example: Example) -> float | None:
        return resolve(self.path, self.folder)(completion, example, **self.options)


@lru_cache(maxsize=16)
def resolve(path: str, folder: str | None = None) -> Callable[..., float | None]:
    """Import ``module:attribute``. Called in worker processes only, whose path it changes for good: the module may import what
    lies beside it, now or when it is called.
    """
    module, _, attribute = path.partition(":")
    places = list(dict.fromkeys([*([] if folder is None else [folder]), str(Path.cwd())]))
    sys.path[:0] = [place for place in places if sys.path[: len(places)] != places]
    importlib.invalidate_caches()
    try:
        imported = importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module}.".startswith(f"{error.name}."):  # it is there, and imports what is not
            raise ImportError(f"module {module!r} cannot be imported: {error}") from error
        raise ImportError(
            f"there is no module {error.name!r} beside the recipe or in {' or '.join(places)}; move it there, or correct path {path!r}"
        ) from error
    except Exception as error:
        raise ImportError(f"module {module!r} cannot be imported: {type(error).__name__}: {error}") from error
    function = getattr(imported, attribute, None)
    if not callable(function):
        raise TypeError(f"{imported.__file__ or module} has no function {attribute!r}; correct path {path!r}")
    return function  # type: ignore[no-any-return]
