"""What is wrong with a recipe: one line each, with file, line, key, value and the fix."""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from entropostat.secret_names import names_secret, resembles_secret
from entropostat.secrets import HIDDEN, redacted, without_secrets
from entropostat.visible import shorten, visible

COMMAND_LINE = "command line"

KEY, MESSAGE = 300, 1500
"""Characters of a line's place or key, and of what it says."""
TOLD = 50
"""Lines."""
NAME, NAMED = 64, 30
"""Characters of a name that others are compared with, and names in a list of all."""
NEAREST = 5
"""Names that are told where there are too many for a list."""


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
        """One line that a terminal can be sent, of bounded length whatever a recipe calls its keys."""
        parts = [_middle(str(self.origin), KEY), *([_middle(self.key, KEY)] if self.key else [])]
        return ": ".join([*parts, _middle(self.message, MESSAGE)])


class RecipeError(Exception):
    """Everything that is wrong with a recipe; ``str()`` gives one line for each problem, of many the first."""

    def __init__(self, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        told = [str(problem) for problem in self.problems[:TOLD]]
        left = len(self.problems) - len(told)
        super().__init__("\n".join([*told, f"and {left} more"] if left else told))


def fail(origin: Origin, key: str, message: str) -> RecipeError:
    return RecipeError([Problem(origin, key, message)])


def _middle(text: str, most: int) -> str:
    """Without control characters, and without its middle where it is too long: what to do about it stands at the end."""
    text = visible(text)
    return text if len(text) <= most else f"{text[: most // 2]} ... {text[-most // 2 :]}"


def display(path: Path) -> str:
    """``path`` as the user would type it: relative to the current folder where it lies below it."""
    try:
        return str(real(path).relative_to(os.getcwd()))
    except (OSError, ValueError):
        return str(path)


def real(path: Path) -> Path:
    """Absolute and without links; ``path`` itself where it can name no file. Links that go round in a circle stay as they are."""
    try:
        return Path(os.path.realpath(path))
    except (OSError, ValueError):
        return path


def nearest(name: str, known: Iterable[str]) -> str:
    """'did you mean 'fraction'?' where one is close, else the list of what there is, or of many the nearest."""
    options = sorted(known)
    # Beyond the length of any name the comparison would take the square of it.
    close = difflib.get_close_matches(name, options, 1) if len(name) <= NAME else []
    if close:
        return f"did you mean {show(close[0])}?"
    if not options:
        return "nothing can be set here"
    if len(options) <= NAMED:
        return f"known: {', '.join(options)}"
    likest = sorted(options, key=lambda option: -_likeness(name[:NAME], option))[:NEAREST]
    return f"nearest of {len(options)}: {', '.join(likest)}"


def _likeness(name: str, other: str) -> float:
    """By letters, and more by whole words: ``batch_size`` is meant by ``per_device_train_batch_size``."""
    words, others = set(name.lower().split("_")), set(other.lower().split("_"))
    shared = len(words & others) / len(words)
    return 2 * shared + difflib.SequenceMatcher(None, name.lower(), other.lower()).ratio()


def show(value: object, key: str = "") -> str:
    """A value in a message, kept to one short line. What is secret in it, or by the name of its ``key``, is not shown."""
    if names_secret(key) or resembles_secret(key):
        return HIDDEN
    value = without_secrets(value)
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else shorten(value)
