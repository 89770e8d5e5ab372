"""Rows of other trainers' logs, in the form of metrics.jsonl: a whole step, our names, numbers alone."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Any

from entropostat.readers import values
from entropostat.readers.damage import Damage
from entropostat.readers.names import ours, trainer_of
from entropostat.readers.rows import Row, in_order
from entropostat.readers.run_folder import Run
from entropostat.readers.values import LARGEST, whole
from entropostat.visible import visible

STEPS = ("train/global_step", "training/global_step", "global_step", "step", "Step", "_step")
"""Where a row says its step, the surest first: a tracker's own counter counts calls."""
OF = "global_step/max_steps"
"""ms-swift's: '12/100'."""
COUNTED = re.compile(r"(\d+)/\d+")


class ForeignRows:
    """Makes rows of the objects of one file. A row without a step belongs to the one before it."""

    def __init__(self, damage: Damage) -> None:
        self.damage = damage
        self.rows: list[Row] = []
        self.keys: set[str] = set()
        self.unstepped = 0
        self._step = 0
        self._clock: str | None = None

    def add(self, given: Mapping[str, Any], step: int | None = None) -> None:
        """``step`` where the file says it beside the row."""
        own = self._own(given) if step is None else step
        self.unstepped += own is None
        self._step = self._step if own is None else own
        made: Row = {"step": self._step}
        self.keys.update(given)
        for key, value in given.items():
            number = _number(value)
            if number is False or key in STEPS:
                continue
            if (name := values.name(ours(key))) is not None and name != "step":
                made[name] = number
        if len(made) > 1:
            self.rows.append(made)

    def _own(self, given: Mapping[str, Any]) -> int | None:
        if isinstance(counted := given.get(OF), str) and (match := COUNTED.fullmatch(counted)):
            return whole(int(match[1])) if len(match[1]) < 12 else None
        if self._clock is None:
            self._clock = next((name for name in STEPS if whole(given.get(name)) is not None), None)
        return None if self._clock is None else whole(given.get(self._clock))

    def run(self, name: str, **more: Any) -> Run:
        """Raises ValueError where there was no row."""
        if not self.rows:
            raise ValueError(f"{self.damage.file}: no logged row in it")
        return Run(
            visible(name), merged(self.rows), {}, damage=self.damage.lines, trainer=trainer_of(self.keys), **more
        )


def merged(rows: Iterable[Row]) -> list[Row]:
    """By step, one row a step: what was logged apart, such as an evaluation, joins the row of its step. The last value counts."""
    by_step: dict[int, Row] = {}
    for row in in_order(rows):
        by_step.setdefault(row["step"], {"step": row["step"]}).update(row)
    return list(by_step.values())


def _number(value: Any) -> Any:
    """A finite number, None for NaN, infinity and null, False for what is none."""
    kind = type(value)
    if value is None:
        return None
    if kind not in (int, float):
        return False
    if -LARGEST <= value <= LARGEST:
        return value
    return None if kind is float and not math.isfinite(value) else False
