"""Name -> method. A method is a frozen dataclass whose ``__call__`` is pure; one file each, found by looking."""

from __future__ import annotations

import importlib
import math
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, Field, field, fields
from importlib.metadata import entry_points
from typing import Any, Generic, TypeVar

from entropostat.rl.contract import misfit
from entropostat.rl.info import Clock, Info
from entropostat.rl.needs import Condition, Need, When, declared
from entropostat.rl.spelling import unknown
from entropostat.rl.stream import Data
from entropostat.rl.term import Advantage, Controller, Loss, Penalty, Reward, Scalar, Term, Weight, options

T = TypeVar("T", bound=Term)
K = TypeVar("K")

LARGEST, SMALLEST = 1e12, 1e-18
"""Bounds of all numbers, in size: the squares of a trillion weights that are this large add up to what float32 holds, and
the square of the least divisor is not 0 there. A field whose range leaves an end open ends here."""

PLUGIN_GROUP = "entropostat.terms"
"""Entry-point group. A third-party package lists modules here; importing one registers its terms."""


def option(
    default: Any = MISSING,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: Iterable[str] | None = None,
    doc: str = "",
    fixed: bool = False,
    factory: Callable[[], Any] | None = None,
    only: When | None = None,
) -> Any:
    """A field of a term: its default, its range and its one-line meaning, stated here and nowhere else.

    ``low`` and ``high`` are inclusive, ``above`` and ``below`` exclusive. A float field takes a number or a
    controller unless ``fixed``. ``only``: where it has an effect.
    """
    limits = {"low": low, "high": high, "above": above, "below": below}
    metadata: dict[str, Any] = {key: value for key, value in limits.items() if value is not None}
    if choices is not None:
        metadata["choices"] = tuple(choices)
    metadata |= {"doc": doc, "fixed": fixed, "only": () if only is None else only.conditions}
    if factory is not None:
        return field(default_factory=factory, metadata=metadata)
    return field(metadata=metadata) if default is MISSING else field(default=default, metadata=metadata)


def check(term: Term) -> None:
    """Raise ``ValueError`` if a plain value of ``term`` is outside the range that its field declares."""
    values = options(term)
    for f in fields(term):
        problem = out_of_range(f, values[f.name])
        if problem:
            raise ValueError(f"{type(term).__name__}.{f.name}: {problem}")


def out_of_range(f: Field[Any], value: Any) -> str | None:
    """Say what is wrong with ``value`` for the field ``f``, or None."""
    meta = f.metadata
    if "choices" in meta and value not in meta["choices"]:
        return f"{value!r} is not one of {', '.join(meta['choices'])}"
    if not isinstance(value, int | float) or isinstance(value, bool):
        return None
    if isinstance(value, float) and math.isnan(value):  # an int may be too large for a float
        return "is not a number (nan)"
    tests = {
        "low": (value >= meta.get("low", value), "at least"),
        "high": (value <= meta.get("high", value), "at most"),
        "above": (value > meta["above"] if "above" in meta else True, "above"),
        "below": (value < meta["below"] if "below" in meta else True, "below"),
    }
    for key, (holds, words) in tests.items():
        if not holds:
            return f"{value!r} must be {words} {meta[key]:g}"
    if abs(value) > LARGEST:
        return f"{value!r} must be at most {LARGEST:g} in size"
    if meta.get("above") == 0 and value < SMALLEST:
        return f"{value!r} must be at least {SMALLEST:g}"
    return None


class TermError(ValueError):
    """A class that cannot be registered, in one line."""


class Registry(Generic[T]):
    """The terms of one slot of the recipe (``weights``, ``penalties``, ...), which all keep the contract ``base``."""

    def __init__(self, slot: str, package: str, base: type[Any]) -> None:
        self.slot = slot
        self.package = package
        self.base = base
        self._terms: dict[str, type[T]] = {}
        self._complete = False

    def register(
        self,
        name: str,
        *,
        paper: str,
        needs: Iterable[str | Need] = (),
        rollout_needs: Iterable[str | Need] = (),
        clock: Clock = "step",
        reference: str = "",
        provides: Mapping[str, str] | None = None,
    ) -> Callable[[type[K]], type[K]]:
        """Add a term. ``paper`` is its citation, ``reference`` the code that its golden vectors were recorded from,
        ``provides`` its metrics and their meaning. ``clock`` says when a controlled field is resolved: before a
        generation or before an optimizer step.

        ``needs`` are the batch fields that the trainer must fill in the loss, ``rollout_needs`` once per generation, which
        may cost a forward. What only some settings read stands under a condition: ``when(scope="rollout").needs(...)``.
        """

        def add(cls: type[K]) -> type[K]:
            if name in self._terms:
                raise TermError(f"{self.slot}/{name} is registered twice")
            if problem := misfit(cls, self.base):
                raise TermError(f"{self.slot}/{name}: {cls.__name__} {problem}")
            info = Info(
                slot=self.slot,
                name=name,
                paper=paper,
                needs=declared(needs),
                rollout_needs=declared(rollout_needs),
                clock=clock,
                reference=reference,
                provides=dict(provides or {}),
            )
            conditions = [c for need in (*info.needs, *info.rollout_needs) for c in need.conditions]
            term: type[T] = cls  # type: ignore[assignment]  # as misfit has found
            for condition in [*conditions, *(c for f in fields(term) for c in f.metadata.get("only", ()))]:
                _check_condition(f"{self.slot}/{name}", condition, fields(term))
            term.info = info
            self._terms[name] = term
            return cls

        return add

    def discover(self) -> None:
        """Import every module of the slot's package, and the plug-ins, so that their terms register themselves."""
        if self._complete:
            return
        self._complete = True
        for module in pkgutil.iter_modules(importlib.import_module(self.package).__path__):
            importlib.import_module(f"{self.package}.{module.name}")
        for point in entry_points(group=PLUGIN_GROUP):
            try:
                point.load()
            except TermError as error:
                raise TermError(f"plug-in {point.name} ({point.value}): {error}") from error

    def names(self) -> list[str]:
        self.discover()
        return sorted(self._terms)

    def __getitem__(self, name: str) -> type[T]:
        self.discover()
        if name not in self._terms:
            raise KeyError(unknown(f"{self.slot} term", name, self._terms))
        return self._terms[name]

    def build(self, name: str, given: Mapping[str, Any] | None = None) -> T:
        """Make a term from its recipe keys, range-checked. Raises KeyError or ValueError with the nearest spelling."""
        cls = self[name]
        known = [f.name for f in fields(cls)]
        for key in given or {}:
            if key not in known:
                raise KeyError(unknown(f"key of {self.slot}/{name}", key, known))
        term = cls(**(given or {}))
        check(term)
        return term


def _check_condition(term: str, condition: Condition, known: Iterable[Field[Any]]) -> None:
    """A condition that can never hold, or that a controller could move, is a mistake of the registration."""
    options = {f.name: f for f in known}
    if condition.option not in options:
        raise TermError(f"{term}: {unknown('option in a condition', condition.option, options)}")
    choices = options[condition.option].metadata.get("choices", ())
    if condition.value is not None and not isinstance(condition.value, bool) and condition.value not in choices:
        raise TermError(f"{term}: the condition '{condition}' names no choice of that option")


REWARDS: Registry[Reward] = Registry("rewards", "entropostat.rl.rewards", Reward)
ADVANTAGES: Registry[Advantage] = Registry("advantages", "entropostat.rl.advantages", Advantage)
WEIGHTS: Registry[Weight] = Registry("weights", "entropostat.rl.weights", Weight)
LOSSES: Registry[Loss] = Registry("loss", "entropostat.rl.losses", Loss)
PENALTIES: Registry[Penalty] = Registry("penalties", "entropostat.rl.penalties", Penalty)
SCALARS: Registry[Scalar] = Registry("scalars", "entropostat.rl.scalars", Scalar)
DATA: Registry[Data] = Registry("data", "entropostat.rl.data", Data)
CONTROLLERS: Registry[Controller] = Registry("controllers", "entropostat.rl.controllers", Controller)

REGISTRIES: dict[str, Registry[Any]] = {
    r.slot: r for r in (REWARDS, ADVANTAGES, WEIGHTS, LOSSES, PENALTIES, SCALARS, DATA, CONTROLLERS)
}
