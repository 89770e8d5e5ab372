"""Conditions on the columns of a row: ``where: {level: [4, 5], extra.split: train, score: {min: 0.2}}``.

    4, text, true      equal; a number is never a text, and true is no number
    null               missing: no such key, null, NaN or blank text
    [4, 5, null]       one of these
    {min: 0, max: 1}   a number from min to max, both included; one of the two is enough
    {missing: true}    missing; false: not missing
    {not: [a, b]}      none of these

All of them must hold. A dotted name is a column of that name, or else one inside of another. Nothing is evaluated.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

from entropostat.data.example import DataError
from entropostat.rl.spelling import unknown
from entropostat.visible import shorten

WHERE = "only rows whose columns are as given: {level: [4, 5], split: train, score: {min: 0.2, max: 0.8}, answer: {missing: false}}"
"""What the option of a source says of itself."""
KEYS = ("min", "max", "missing", "not")
SHOWN = 5
"""Values of a column that a message shows."""
ABSENT = object()


def faults(where: object) -> Iterator[tuple[tuple[str, ...], str]]:
    """(path below ``where``, what is wrong and the fix) for everything in it that is no condition."""
    if not isinstance(where, Mapping):
        yield (), f"must be a mapping of columns to conditions such as {{level: [4, 5]}}, not {shorten(where)}"
        return
    for name, wanted in where.items():
        if not isinstance(name, str) or not name:
            yield (str(name),), f"a column is named by text, not {shorten(name)}; put it into quotes"
        elif isinstance(wanted, Mapping):
            yield from (((name, *path), said) for path, said in _range_faults(wanted))
        elif isinstance(wanted, list | tuple):
            yield from (((name, *path), said) for path, said in _list_faults(wanted))
        elif not _plain(wanted):
            yield (name,), f"must be text, a finite number, true, false, null or a list of them, not {shorten(wanted)}"


def _range_faults(wanted: Mapping[Any, Any]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not wanted:
        yield (), f"says nothing; give one of {', '.join(KEYS)}"
    for key, value in wanted.items():
        if key not in KEYS:
            yield (str(key),), unknown("condition", str(key), KEYS)
        elif key in ("min", "max") and not _number(value):
            yield (key,), f"must be a finite number, not {shorten(value)}"
        elif key == "missing" and not isinstance(value, bool):
            yield (key,), f"must be true or false, not {shorten(value)}"
        elif key == "not" and isinstance(value, list | tuple):
            yield from (((key, *path), said) for path, said in _list_faults(value))
        elif key == "not" and not _plain(value):
            yield (key,), f"must be a value or a list of values, not {shorten(value)}"
    low, high = wanted.get("min"), wanted.get("max")
    if _number(low) and _number(high) and low > high:
        yield ("min",), f"{low} leaves no number up to max ({high}); lower it"
    if wanted.get("missing") is True and len(wanted) > 1:
        yield ("missing",), "true holds for no row that has a value; leave one of the conditions out"


def _list_faults(wanted: list[Any] | tuple[Any, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    if not wanted:
        yield (), "is an empty list, which no row is in; name values, or leave the column out"
    for index, value in enumerate(wanted):
        if not _plain(value):
            yield (str(index),), f"must be text, a finite number, true, false or null, not {shorten(value)}"


def _number(value: object) -> TypeGuard[int | float]:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole or (isinstance(value, float) and math.isfinite(value))


def _plain(value: object) -> bool:
    return value is None or isinstance(value, str | bool) or _number(value)


class Where:
    """The conditions at work on the rows of one source: remembers what it has seen, for the message if none holds."""

    def __init__(self, conditions: Mapping[str, Any]) -> None:
        for path, said in faults(conditions):
            raise DataError(f"{'.'.join(('where', *path))}: {said}")
        self.conditions = conditions
        self.dropped = 0
        self._kept = 0
        self._columns: set[str] = set()
        self._seen: dict[str, dict[str, None]] = {name: {} for name in conditions}

    def takes(self, row: Mapping[str, Any]) -> bool:
        found = {name: value(row, name) for name in self.conditions}
        holds = all(_holds(found[name], wanted) for name, wanted in self.conditions.items())
        self._kept, self.dropped = self._kept + holds, self.dropped + (not holds)
        for name, given in found.items():
            if given is not ABSENT and len(self._seen[name]) < SHOWN:
                self._seen[name][shorten(given, 30)] = None
        if len(self._columns) < 1000:
            self._columns |= {str(key) for key in row}
        return holds

    def check(self, place: str) -> None:
        """After the last row. Raises where a column is in no row, or where no row is left."""
        if not self._kept and not self.dropped:
            return
        for name, seen in self._seen.items():
            if not seen and not _holds(ABSENT, self.conditions[name]):
                raise DataError(f"{place}: where.{name}: {unknown('column', name, self._columns)}")
        if not self._kept:
            shown = "; ".join(f"{name} is such as {', '.join(seen)}" for name, seen in self._seen.items() if seen)
            raise DataError(
                f"{place}: where: none of {self.dropped} rows has {shorten(dict(self.conditions), 200)}; {shown or 'ease it'}"
            )


def value(row: Mapping[str, Any], name: str) -> Any:
    """The column ``name``, or ``a.b`` as b inside of a; ABSENT where there is none."""
    if name in row:
        return row[name]
    inside: Any = row
    for part in name.split("."):
        if not isinstance(inside, Mapping) or part not in inside:
            return ABSENT
        inside = inside[part]
    return inside


def missing(given: object) -> bool:
    blank = isinstance(given, str) and not given.strip()
    return given is ABSENT or given is None or blank or (isinstance(given, float) and math.isnan(given))


def _holds(given: Any, wanted: Any) -> bool:
    if isinstance(wanted, Mapping):
        low, high = wanted.get("min", -math.inf), wanted.get("max", math.inf)
        ranged = "min" in wanted or "max" in wanted
        return (
            (not ranged or (_number(given) and low <= given <= high))
            and ("missing" not in wanted or missing(given) == wanted["missing"])
            and ("not" not in wanted or not _holds(given, wanted["not"]))
        )
    if isinstance(wanted, list | tuple):
        return any(_holds(given, one) for one in wanted)
    if wanted is None:
        return missing(given)
    if not isinstance(given, str | bool | int | float):
        return False
    same = isinstance(given, bool) == isinstance(wanted, bool) and isinstance(given, str) == isinstance(wanted, str)
    return same and given == wanted and not missing(given)
