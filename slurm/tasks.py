"""A file of overrides, one line for each task of an array: what a sweep over recipe keys hands to `submit`.

A line holds words as on the command line, ``objective.penalties.kl_ref.coef=.1 seed=3``, split as a shell splits them and never
run by one. The first line is task 0. An empty line is the recipe as it is.
"""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from entropostat.recipe.errors import COMMAND_LINE, Origin, Problem, RecipeError, display, fail
from entropostat.recipe.overrides import override

OF_THE_JOB = ("name", "output_dir", "slurm")
"""One for all tasks: the resources, and the folder in which `status` finds their runs by the job's id."""


def read(path: str) -> list[list[str]]:
    """The words of every line. Raises RecipeError, which names the line, for what is no override of a task."""
    file = Path(path)
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is not text"
        raise fail(
            Origin(COMMAND_LINE), "--tasks", f"{path}: {reason}; write one line of key=value for each run"
        ) from None
    if not lines:
        raise fail(Origin(display(file)), "", "holds no line; write one line of key=value for each run")
    return [_words(text, Origin(display(file), number)) for number, text in enumerate(lines, 1)]


def _words(text: str, where: Origin) -> list[str]:
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise fail(where, "", f"{str(error).lower()}; close the quotes") from None
    for word in words:
        try:
            override(word)
        except RecipeError as error:
            raise at(where, error) from None
        key = word.partition("=")[0].strip()
        if key.partition(".")[0] in OF_THE_JOB:
            raise fail(where, key, "is the same for all tasks; set it in the recipe or on the command line")
    return words


def at(where: Origin, error: RecipeError) -> RecipeError:
    """The same problems; those that a line of the file caused name it, as no command line did."""
    return RecipeError(
        [Problem(where, p.key, p.message) if p.origin.file == COMMAND_LINE else p for p in error.problems]
    )


def last(part: str) -> int:
    """The largest task of ``7``, ``0-8`` or ``0-8:2``; -1 of what is none of these, which the recipe's own check names."""
    match = re.fullmatch(r"(\d+)(?:-(\d+)(?::([1-9]\d*))?)?", part)
    if match is None:
        return -1
    first, end, step = int(match[1]), int(match[2] or match[1]), int(match[3] or 1)
    return first + max(end - first, 0) // step * step


def spread(array: str | None, lines: int) -> str:
    """The array over all lines, or the part of it that is asked for."""
    if array is None:
        return f"0-{lines - 1}"
    if any(last(part) >= lines for part in array.partition("%")[0].split(",")):
        raise fail(
            Origin(COMMAND_LINE), "--array", f"{array!r}: the file of --tasks has lines for the tasks 0 to {lines - 1}"
        )
    return array
