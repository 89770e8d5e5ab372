"""A function of the user's."""

from __future__ import annotations

import asyncio
import importlib
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from entropostat.data.example import Completion, Example
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.signature import GIVEN, misfit, trl_columns
from entropostat.reward.verifier import Form, Verifier
from entropostat.rl.registry import option

FORMS = (
    "single: f(completion, example) -> score; batch: f(completions, examples) -> scores, once for all completions of a "
    "process; group: the same, once for each prompt's completions; trl: f(prompts, completions, **columns) -> scores, as "
    "TRL calls a reward function"
)


@VERIFIERS.register("function", paper="entropostat")
@dataclass(frozen=True, kw_only=True)
class Function(Verifier):
    """Calls ``module:attribute(completion, example, **options) -> float | None`` of the user's own code.

    With ``form: batch`` it is called as ``f(completions, examples, **options)`` and returns a list with a score or None for each
    completion; with ``form: group`` in the same way, once for each prompt's completions, which are always all there; with
    ``form: trl`` as TRL calls a reward function, with the columns ``answer``, ``id``, ``source`` and what ``meta`` of the data
    source names. ``timeout`` is then that of a call.

    The module is looked for in the recipe's folder, then in the working directory, then among what is installed.
    A recipe is data, and data must not run code by being opened: this verifier is refused unless the command line
    says ``--allow-code``.
    """

    path: str = option(doc="module:attribute")
    folder: str | None = option(
        None, doc="where the module is looked for first; null: beside the recipe, if it is there"
    )
    form: Form = option("single", doc=FORMS)  # noqa: RUF009
    options: dict[str, Any] = option(factory=dict, doc="keyword arguments of the function")  # noqa: RUF009
    deterministic: bool = option(
        False, doc="equal completions of a prompt always have the same score: judge them once; with form: single"
    )

    compares = False

    def __post_init__(self) -> None:
        module, _, attribute = self.path.partition(":")
        if not module or not attribute:
            raise ValueError(f"verifier function: path {self.path!r} must be module:attribute, e.g. my_rewards:score")
        if self.deterministic and self.form != "single":
            raise ValueError(
                f"verifier function: deterministic is for form: single, and form: {self.form} is given all completions; leave it out"
            )
        for key in self.options:
            if self.form == "trl" and key in GIVEN:
                raise ValueError(f"verifier function: options.{key}: form: trl gives it itself; leave it out")

    @property
    def user_code(self) -> str | None:
        return self.path.partition(":")[0]

    @property
    def isolated(self) -> bool:
        return True

    @property
    def repeats(self) -> bool:
        return self.deterministic

    @property
    def calls(self) -> Form:
        return self.form

    def prepare(self) -> None:
        why = misfit(resolve(self.path, self.folder), self.form, self.options)
        if why is not None:
            raise TypeError(f"{self.path} {why}")

    def score(self, completion: str, example: Example) -> float | None:
        return resolve(self.path, self.folder)(completion, example, **self.options)  # type: ignore[no-any-return]

    def scores(
        self, completions: Sequence[Completion], examples: Sequence[Example], columns: Mapping[str, Any]
    ) -> object:
        function = resolve(self.path, self.folder)
        if self.form != "trl":
            return function(list(completions), list(examples), **self.options)
        prompts = [example.prompt for example in examples]
        given = {**trl_columns(examples, columns), **self.options}
        returned = function(prompts=prompts, completions=list(completions), **given)
        return asyncio.run(returned) if inspect.iscoroutine(returned) else returned


@lru_cache(maxsize=16)
def resolve(path: str, folder: str | None = None) -> Callable[..., Any]:
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
