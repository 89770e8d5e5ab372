"""Which files a path, a pattern, or a list of them names: sorted, each once."""

from __future__ import annotations

import difflib
import glob
import os
from itertools import islice
from pathlib import Path

from entropostat.data.cells import shown
from entropostat.data.deadline import deadline
from entropostat.data.example import DataError

MOST = 10_000
"""Files of a pattern."""
SECONDS = 10.0
"""For one pattern: ``**`` walks through all that lies below."""
REMOTE = ("http:", "https:", "s3:", "gs:", "hf:", "ftp:")
FIX = "set path to an existing file"


def found(paths: str | list[str], base: Path | None) -> list[Path]:
    """Relative ones are tried in ``base``, the recipe's folder, then in the working directory. Raises DataError."""
    entries = [paths] if isinstance(paths, str) else paths
    if not entries:
        raise DataError(f"data source file: path is an empty list; {FIX}")
    return sorted({file for entry in entries for file in _named(entry, base)})


def _named(entry: str, base: Path | None) -> list[Path]:
    if not entry.strip() or "\0" in entry:
        raise DataError(f"data source file: path {shown(entry)} names no file; {FIX}")
    if entry.lower().startswith(REMOTE):
        raise DataError(
            f"data source file: {shown(entry)} is not on this machine; download it, or use hub for a dataset of the Hub"
        )
    tried = [folder / os.path.expanduser(entry) for folder in ([base] if base else []) + [Path.cwd()]]
    for file in tried:
        if os.path.isdir(file):
            raise DataError(
                f"data source file: {file} is a folder; name its files, as in {shown(entry.rstrip('/') + '/*.jsonl')}, or use hub "
                "for a folder of the datasets library"
            )
        if os.path.exists(file):
            return [Path(os.path.normpath(file))]
    if glob.has_magic(entry):
        for folder in [base, Path.cwd()] if base else [Path.cwd()]:
            if files := matching(os.path.expanduser(entry), folder):
                if len(files) > MOST:
                    raise DataError(
                        f"data source file: {shown(entry)} names more than {MOST} files; narrow the pattern"
                    )
                return files
        places = " or ".join(dict.fromkeys(map(str, tried)))
        raise DataError(f"data source file: no file matches {places}; correct the pattern")
    places = " or ".join(dict.fromkeys(map(str, tried)))
    raise DataError(f"data source file: no file {places}{_nearest(tried)}; {FIX}")


def matching(pattern: str, folder: Path, most: int = MOST + 1) -> list[Path]:
    """At most so many files. What stands in the name of ``folder`` is no pattern. Raises DataError where it takes too long."""
    with deadline(
        SECONDS, f"data source file: {shown(pattern)} is still looked for after {SECONDS:g} s; narrow the pattern"
    ):
        names = glob.iglob(os.path.join(glob.escape(str(folder)), pattern), recursive=True)
        return [Path(os.path.normpath(name)) for name in islice(filter(os.path.isfile, names), most)]


def _nearest(tried: list[Path]) -> str:
    """The spelling that comes nearest, of what lies beside."""
    for file in tried:
        try:
            with os.scandir(file.parent) as entries:
                names = [entry.name for entry in islice(entries, MOST)]
        except OSError:
            continue
        if close := difflib.get_close_matches(file.name, names, 1):
            return f", did you mean {shown(close[0])}?"
    return ""
