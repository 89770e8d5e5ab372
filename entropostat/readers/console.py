"""What trainers print, kept in a file: lines among other lines, with colours and prefixes.

step:12 - actor/entropy:0.31 - critic/score/mean:np.float64(0.5) - ...      verl
Global step 12: {'policy_loss': 0.1, 'reward': 0.5, ...}                    OpenRLHF
{'loss': 0.0, 'entropy': 0.31, ..., 'global_step/max_steps': '12/100'}      transformers, TRL, ms-swift
Step 12 | Time: 5.20s | Entropy: 0.3100 | Grad. Norm: 0.0100 | ...          prime-rl
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.readers.damage import Damage
from entropostat.readers.foreign import OF, ForeignRows
from entropostat.readers.run_folder import Run
from entropostat.readers.values import LAST_STEP
from entropostat.regular import opened

LONGEST = 1 << 18
"""Bytes of a line that is looked at."""
COLOUR = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
VERL = re.compile(r"(?:^|[\s)\]])step:(\d{1,10}) - (\S.*)")
PRIME = re.compile(r"(?:^|\s)Step (\d{1,10}) \| (\S.*)")
SAID = re.compile(r"[Gg]lobal step (\d{1,10})\b")
BAR = re.compile(r"(\d{1,10})/\d{1,10} \[[\d:?<, ]")
NUMBER = r"[-+]?(?:\d[\d_]*\.?\d*(?:[eE][-+]?\d{1,4})?|\.\d+(?:[eE][-+]?\d{1,4})?|nan|inf)"
WRAPPED = re.compile(rf"(?:[A-Za-z_][\w.]*\()?({NUMBER})(?:,[^)]*)?\)?")
LEADING = re.compile(rf"({NUMBER})")
PAIR = re.compile(
    rf"['\"]([^'\"]{{1,200}})['\"]\s*:\s*(?:[A-Za-z_][\w.]*\()?['\"]?({NUMBER})(/\d+)?['\"]?\)?\s*(?=[,}}])"
)


def read(file: Path) -> Run:
    """Raises ValueError where no line is one of these."""
    damage = Damage(file)
    rows = ForeignRows(damage)
    for row, step in logged(file):
        rows.add(row, step)
    if not rows.rows:
        raise ValueError(
            f"{file}: no metrics in it; lines of verl ('step:1 - ...'), TRL, ms-swift, OpenRLHF ({{'loss': ...}}) and prime-rl "
            "('Step 1 | ...') are read"
        )
    if rows.unstepped:
        damage.note("its lines bear no step, and are counted instead")
        for number, made in enumerate(rows.rows, start=1):
            made["step"] = number
    return rows.run(file.stem)


def logged(file: Path) -> Iterator[tuple[dict[str, Any], int | None]]:
    """(metrics, step) of every line that has any."""
    with opened(file) as stream:
        while line := stream.readline(LONGEST):
            bar = None  # of a line that was written over itself, the last one before the metrics
            for part in COLOUR.sub("", line.decode("utf-8", "replace")).split("\r"):
                row, step = parsed(part.strip())
                if row:
                    yield row, bar if step is None else step
                elif counted := BAR.search(part):
                    bar = _step(counted[1])


def parsed(line: str) -> tuple[dict[str, Any], int | None]:
    if match := VERL.search(line):
        pairs = (item.rpartition(":") for item in match[2].split(" - "))
        return _numbers((key.strip(), WRAPPED.fullmatch(value.strip())) for key, _, value in pairs), _step(match[1])
    if match := PRIME.search(line):
        pairs = (item.partition(":") for item in match[2].split("|"))
        return _numbers((key.strip(), LEADING.match(value.strip())) for key, _, value in pairs), _step(match[1])
    begin = line.find("{")
    if begin < 0 or not line.endswith("}"):
        return {}, None
    row: dict[str, Any] = {}
    for key, value, rest in PAIR.findall(line, begin):
        if key == OF or not rest:
            row[key] = value + rest if key == OF else _float(value)
    said = SAID.search(line, 0, begin) or BAR.search(line, 0, begin)
    return row, None if said is None else _step(said[1])


def _numbers(pairs: Iterator[tuple[str, re.Match[str] | None]]) -> dict[str, Any]:
    return {key: _float(match[1]) for key, match in pairs if key and match is not None}


def _float(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None


def _step(text: str) -> int | None:
    return int(text) if int(text) <= LAST_STEP else None
