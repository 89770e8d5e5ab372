"""A grid over a recipe's keys: which runs it stands for, what each is called, and what it changes. Pure; no torch."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass

from entropostat.recipe.errors import COMMAND_LINE, Origin, fail
from entropostat.recipe.source import parse

HERE = Origin(COMMAND_LINE)
SEEDS = re.compile(r"\d+(-\d+)?(,\d+(-\d+)?)*")


@dataclass(frozen=True)
class Axis:
    key: str
    values: tuple[str, ...]
    """As YAML, one override each."""

    @classmethod
    def parse(cls, text: str) -> Axis:
        """``key=v1,v2``; values with commas of their own go into a YAML list: ``key=[[1, 2], [3]]``."""
        key, equals, given = text.partition("=")
        if not equals or not key.strip() or not given.strip():
            raise fail(HERE, "--grid", f"{text!r} is no axis; write key.subkey=value,value")
        listed = given.strip()
        items = parse(listed if listed.startswith("[") else f"[{listed}]", COMMAND_LINE, HERE).plain
        values = tuple(_yaml(value) for value in items)
        if len(set(values)) < len(values):
            raise fail(HERE, f"--grid {key}", f"{given!r} names a value twice; each is one run")
        return cls(key.strip(), values)


@dataclass(frozen=True)
class Point:
    """One run."""

    name: str
    overrides: tuple[str, ...]
    seed: int | None


def expand(name: str, axes: Sequence[Axis], seeds: Sequence[int]) -> list[Point]:
    """Every combination, seeds innermost, in the order given. Names are unique and fit for folders."""
    doubled = [axis.key for i, axis in enumerate(axes) if axis.key in [other.key for other in axes[:i]]]
    if doubled:
        raise fail(HERE, f"--grid {doubled[0]}", "comes twice; name all its values once, separated by commas")
    short = shortened([axis.key for axis in axes])
    points: list[Point] = []
    chosen: Sequence[int | None] = seeds or [None]
    for values in itertools.product(*(axis.values for axis in axes)):
        words = [f"{label}={_safe(value)}" for label, value in zip(short, values, strict=True)]
        changes = tuple(f"{axis.key}={value}" for axis, value in zip(axes, values, strict=True))
        for seed in chosen:
            stem = "-".join([name, *words, *([] if seed is None else [f"s{seed}"])])
            taken = {point.name for point in points}
            free = next(n for n in itertools.count(1) if (stem if n == 1 else f"{stem}.{n}") not in taken)
            points.append(Point(stem if free == 1 else f"{stem}.{free}", changes, seed))
    return points


def shortened(keys: Sequence[str]) -> list[str]:
    """The last part of each key, with as many more before it as tell the keys apart."""
    names = []
    for key in keys:
        parts = key.split(".")
        length = next(
            n
            for n in range(1, len(parts) + 1)
            if n == len(parts) or sum(k.split(".")[-n:] == parts[-n:] for k in keys) == 1
        )
        names.append(".".join(parts[-length:]))
    return names


def parse_seeds(text: str | None) -> list[int]:
    """``0-4`` or ``1,5,7-9``; None: the recipe's own."""
    if text is None:
        return []
    if not SEEDS.fullmatch(text):
        raise fail(HERE, "--seeds", f"{text!r} is no list of seeds; write 0-4 or 1,5,7")
    spans = [part.partition("-")[::2] for part in text.split(",")]
    return list(dict.fromkeys(seed for low, high in spans for seed in range(int(low), int(high or low) + 1)))


def _safe(value: str) -> str:
    return re.sub(r"[^\w.+-]+", "_", value).strip("_")[:40] or "_"


def _yaml(value: object) -> str:
    """A value as it is written in an override. JSON is YAML; a word goes without quotes where it stays a word."""
    if isinstance(value, str) and re.fullmatch(r"[A-Za-z_][\w./-]*", value):
        return value if parse(value, COMMAND_LINE, HERE).plain == value else json.dumps(value)
    return json.dumps(value)
