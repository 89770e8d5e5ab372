"""What is wrong with a recipe: one line each, with file, line, key, value and the fix."""

from __future__ import annotations

import contextlib
import difflib
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from entropostat.faults import LOST, reason
from entropostat.secret_names import names_secret, resembles_secret
from entropostat.secrets import HIDDEN, redacted, without_secrets

COMMAND_LINE = "command line"
FAULT_NOTE = "ENTROPOSTAT_FAULT_NOTE"
"""Environment variable: the file into which a process of `launch` writes why it ends, for its parent to say last."""


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


class Fault(Exception):
    """One line, in which libraries may have put what a recipe or the environment holds."""

    def __str__(self) -> str:
        return redacted(super().__str__())


class SetupError(Fault):
    """A run that could not start: what is missing or wrong outside of the recipe, in one line."""


class RunFault(Fault):
    """A run that could not go on, though its recipe is right: what broke, in one line."""


@contextlib.contextmanager
def in_one_line(name: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong while the run ``name`` is set up into a SetupError. ``ENTROPOSTAT_TRACEBACK=1`` shows where.

    ``folder`` is where it would write.
    """
    try:
        yield
    except Exception as error:
        found = reason(error, folder)
        plain = isinstance(error, (OSError, ValueError, RuntimeError, ImportError, LookupError))
        if os.environ.get("ENTROPOSTAT_TRACEBACK") or (found is None and not plain):
            raise
        said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        text = found or " ".join(said.split())
        raise SetupError(f"{name}: {text} (ENTROPOSTAT_TRACEBACK=1 shows where)") from error


def note_fault(text: str) -> None:
    """Leave ``text`` for the `launch` that started this process, if one did and nothing lies there yet."""
    named = os.environ.get(FAULT_NOTE)
    if named and LOST not in text:
        with contextlib.suppress(OSError), Path(named).open("x") as stream:
            stream.write(text)


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
