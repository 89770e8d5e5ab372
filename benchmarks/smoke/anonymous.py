"""Text of a log as it may be shown to others: without secrets, and without names of the machine, its user and their folders."""

from __future__ import annotations

import getpass
import socket
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.experiment import ROOT
from entropostat.secrets import redacted

SHORT = 3
"""Characters of a name that would be found inside of words."""


def anonymous(text: str) -> str:
    text = redacted(text)
    for name, instead in sorted(names(), key=lambda pair: -len(pair[0])):  # a folder before the one that it lies in
        if len(name) > SHORT:
            text = text.replace(name, instead)
    return text


def names() -> Iterator[tuple[str, str]]:
    """What is not shown, and what stands in its place."""
    yield str(ROOT), "."
    yield sys.prefix, "ENV"
    yield tempfile.gettempdir(), "TMP"
    yield str(Path.home()), "~"
    yield socket.gethostname(), "HOST"
    yield getpass.getuser(), "USER"
