"""What is wrong with a recipe: one line each, with file, line, key, value and the fix."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entropostat.secret_names import names_secret, resembles_secret
from entropostat.secrets import HIDDEN, redacted, without_secrets

COMMAND_LINE = "command line"


@dataclass(frozen=True)
class Origin:
    """Where a value was written. ``line`` counts from 1; 0 stands for the file (or the command line) as a whole."""

    file: str
    line: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}" if self.line else self.file


@dataclass(frozen=True)
class Problem:
    """One thing to fix."""

    origin: Origin
    key: str
    """Dotted path in the recipe; empty where the whole file is meant."""
    message: str

    def __post_init__(self) -> None:
        """What is wrong may be a secret in the wrong place."""
        object.__setattr__(self, "origin", Origin(redacted(self.origin.file, hashes=True), self.origin.line))
        object.__setattr__(self, "key", redacted(self.key, hashes=True))
        object.__setattr__(self, "message", redacted(self.message, hashes=True))

    def __str__(self) -> str:
        return f"{self.origin}: {self.key}: {self.message}" if self.key else f"{self.origin}: {self.message}"


class RecipeError(Exception):
    """Everything that is wrong with a recipe; ``str()`` gives one line for each problem."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(str(problem) for problem in self.problems))


def fail(origin: Origin, key: str, message: str) -> RecipeError:
    return RecipeError([Problem(origin, key, message)])


def display(path: Path) -> str:
    """``path`` as the user would type it: relative to the current folder where it lies below it."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean 'fraction'?' where one is close, else the list of what there is."""
    options = list(known)
    close = difflib.get_close_matches(name, options, 1)
    if close:
        return f"did you mean {close[0]!r}?"
    return f"known: {', '.join(sorted(options))}" if options else "nothing can be set here"


def show(value: object, key: str = "") -> str:
    """A value in a message, kept to one short line. What is secret in it, or by the name of its ``key``, is not shown."""
    if names_secret(key) or resembles_secret(key):
        return HIDDEN
    value = without_secrets(value)
    text = "null" if value is None else str(value).lower() if isinstance(value, bool) else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
