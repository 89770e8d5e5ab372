"""The user's own reward functions as they are when a job is submitted: their files travel in its script, and the job imports those.

What is copied is code: the module that an entry names, or its whole package, and what these import from the same places. It is read
and never run. What an entry reads otherwise is found where it is when the job starts, and what cannot be copied is said.
"""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from entropostat.recipe import Recipe
from entropostat.recipe.terms import Term

MOST = 1 << 20
"""Bytes of one entry's files. Slurm takes a script of 4 MB."""
HIDDEN = ("__pycache__",)
OURS = "entropostat"
"""Is the job's own, also where it is submitted from a checkout."""


@dataclass(frozen=True)
class Code:
    """Of one entry of ``reward:``."""

    folder: str | None
    """Where the recipe says that its module is."""
    files: dict[str, bytes] = field(default_factory=dict)
    """By their path below the folder that the job imports from."""
    left: str | None = None
    """Why nothing is copied."""


class _Left(Exception):
    """Of the files of an entry, one cannot be copied."""


def own_code(recipe: Recipe) -> dict[str, Code]:
    """By the name of the entry."""
    return {term.name: _code(term) for term in recipe.reward if term.kind == "function"}


def together(codes: Sequence[dict[str, Code]]) -> dict[str, Code]:
    """Of the tasks of an array, which share a folder: the first is the recipe that all of them change."""
    every = dict(codes[0])
    for code in codes[1:]:
        for name, task in code.items():
            known = every.get(name, Code(None, left="only a task has it"))
            left = known.left or task.left
            if left is None and known.folder != task.folder:
                left = "a task looks for it in another folder"
            every[name] = Code(known.folder, {} if left else {**known.files, **task.files}, left)
    return every


def report(codes: dict[str, Code]) -> Iterator[str]:
    """What is copied, and what is not."""
    for name, code in codes.items():
        if code.left is None:
            yield f"code       reward.{name}: {', '.join(sorted(code.files))}, as now"
        else:
            yield f"code       reward.{name}: not copied, {code.left}: an edit before the job ends changes it"


def _code(term: Term) -> Code:
    folder = term.options.get("folder")
    module = str(term.options["path"]).partition(":")[0].partition(".")[0]
    places = list(dict.fromkeys(Path(place) for place in (folder, os.getcwd()) if place is not None))
    files: dict[str, bytes] = {}
    todo, seen = [module], {module, OURS}
    try:
        while todo:
            name = todo.pop()
            found = _found(name, places)
            if found is None:
                if name == module:
                    return Code(folder, left=f"{module} is an installed package")
                continue
            for path, content in _read(found, name == module):
                files[path] = content
                if sum(map(len, files.values())) > MOST:
                    raise _Left(f"{found.name} and what it imports are more than {MOST >> 20} MiB")
                fresh = [each for each in _imports(path, content) if each not in seen]
                seen |= {*fresh}
                todo += fresh
    except _Left as why:
        return Code(folder, left=str(why))
    except (OSError, ValueError) as error:
        return Code(folder, left=f"{getattr(error, 'filename', None) or module} cannot be read")
    return Code(folder, files)


def _found(module: str, places: Sequence[Path]) -> Path | None:
    """The file or the folder of a module, in the order in which Python finds them."""
    for place in places:
        if (place / module / "__init__.py").is_file():
            return place / module
        if (place / f"{module}.py").is_file():
            return place / f"{module}.py"
    return next((place / module for place in places if any((place / module).glob("**/*.py"))), None)


def _read(found: Path, named: bool) -> Iterator[tuple[str, bytes]]:
    """(path from the folder of ``found``, content) of all files of a module."""
    if found.is_file():
        yield found.name, found.read_bytes()
        return
    if not named and not (found / "__init__.py").is_file():
        return  # a folder without code of its own that happens to have the name of an import
    for place, folders, names in os.walk(found):
        folders[:] = sorted(name for name in folders if name not in HIDDEN and not name.startswith("."))
        for name in folders:
            if os.path.islink(os.path.join(place, name)):
                raise _Left(f"{found.name}/{name} is a link to a folder")
        for name in sorted(names):
            file = Path(place, name)
            if file.is_file() and not name.startswith(".") and file.stat().st_size <= MOST:
                yield str(file.relative_to(found.parent)), file.read_bytes()
            elif file.is_file() and not name.startswith("."):
                raise _Left(f"{file.relative_to(found.parent)} is larger than {MOST >> 20} MiB")


ELSEWHERE = {"__file__": "looks for what lies beside it", "__path__": "looks for what lies beside it"}
ELSEWHERE |= dict.fromkeys(("import_module", "__import__", "run_path"), "imports by a name that only a run knows")


def _imports(path: str, content: bytes) -> Iterator[str]:
    """First names of all modules that a file of Python imports. Raises _Left for one that depends on its place."""
    if not path.endswith(".py"):
        return
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(content)
    except (SyntaxError, ValueError, RecursionError, MemoryError):  # the job says so
        return
    for node in ast.walk(tree):
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else None
        if name in ELSEWHERE:
            raise _Left(f"{path} {ELSEWHERE[name]} ({name})")
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            if any(alias.name in ELSEWHERE for alias in node.names):
                raise _Left(f"{path} imports by a name that only a run knows")
            yield node.module.partition(".")[0]
