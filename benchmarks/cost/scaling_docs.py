"""The tables of docs/scaling.md are the command's own output: this writes them anew, and a test holds the page to it."""

from __future__ import annotations

import contextlib
import io
import re
import shlex

from benchmarks.experiment import ROOT
from entropostat.__main__ import main

PAGE = ROOT / "docs" / "scaling.md"
BLOCK = re.compile(r"(?<=^```\n)\$ entropostat (plan .*?[^\\])\n(.*?)(?=^```$)", re.DOTALL | re.MULTILINE)
ESTIMATE = " billion weights, from "
LACKING = " needs the package "
"""In a note on this machine, which is not the reader's."""


def renewed(text: str) -> str:
    """The page with the output of each `$ entropostat plan ...` below it, from the estimate on."""
    return BLOCK.sub(lambda block: f"$ entropostat {block[1]}\n{output(block[1])}\n", text)


def output(command: str) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(shlex.split(command.replace("\\\n", " ")))
    told = [line for line in printed.getvalue().splitlines() if LACKING not in line]
    lines = "\n".join(told).rstrip().splitlines()
    start = next(i for i, line in enumerate(lines) if ESTIMATE in line)
    return "\n".join([*(["..."] if start else []), *lines[start:]])
