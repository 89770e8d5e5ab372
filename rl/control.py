"""A number or a controller: bind controllers to the float fields of an objective.

Controllers resolve to plain floats, so that a term never knows about control. Everything here is a pure function of its
arguments; the trainer holds the state, feeds it signals once per applied optimizer step, and saves it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any

from entropostat.rl.controllers.follow import Follow, broken
from entropostat.rl.controllers.watch import Watch
from entropostat.rl.info import Clock
from entropostat.rl.objective import Objective, Spec
from entropostat.rl.parts import Part
from entropostat.rl.registry import CONTROLLERS, LARGEST, REGISTRIES, SMALLEST
from entropostat.rl.term import Controller

ControlState = dict[str, dict[str, float]]
"""Knob path -> the controller's state. JSON-able."""

REPORTED = (
    *("output", "target", "signal", "smoothed", "error", "p", "i", "d", "saturated"),
    *("gate", "alarm", "active", "phase", "penalty"),
    *("rest", "demand", "share", "authority", "feed", "slope", "foreseen", "realised"),
)
"""What of a controller's state is logged, where it has it."""


@dataclass(frozen=True)
class Knob:
    """One controlled field, e.g. penalties.kl_ref.coef."""

    slot: str
    term: str
    field: str
    controller: Controller
    clock: Clock
    low: float
    high: float

    @property
    def path(self) -> str:
        return f"{self.slot}.{self.term}.{self.field}"

    def clamp(self, value: float) -> float:
        """Into the range that the field declares: a controller must not be able to break a run."""
        return min(max(value, self.low), self.high)


@dataclass(frozen=True)
class Control:
    """An objective whose controlled fields are set anew on their clocks."""

    template: Objective
    knobs: tuple[Knob, ...] = ()

    @classmethod
    def build(cls, spec: Spec) -> Control:
        """Raises KeyError or ValueError with the nearest spelling, as the registries do."""
        knobs: list[Knob] = []
        plain: dict[str, Any] = {}
        for slot, parts in spec.items():
            one = slot == "loss"
            done = [_split(slot, part, knobs) for part in ([parts] if one else parts)]
            plain[slot] = done[0] if one else done
        for path, problem in broken({knob.path: knob.controller for knob in knobs}):
            raise ValueError(f"{path}: {problem}")
        control = cls(Objective.build(plain), tuple(knobs))
        return replace(control, template=control.objective(control.values(control.init())))

    @property
    def signals(self) -> frozenset[str]:
        """Names of the signals that the controllers read."""
        return frozenset().union(*(knob.controller.signals for knob in self.knobs))

    def init(self) -> ControlState:
        return self._followed({knob.path: knob.controller.init() for knob in self.knobs})

    def update(self, state: ControlState, signals: Mapping[str, float]) -> ControlState:
        """One applied optimizer step. Pure: a rank that sees the same signals reaches the same state."""
        leaders = [knob for knob in self.knobs if not isinstance(knob.controller, Follow)]
        reached = {knob.path: knob.controller.update(state[knob.path], signals)[0] for knob in leaders}
        return self._followed(state | reached)

    def _followed(self, state: ControlState) -> ControlState:
        """The state once every follower has read the knob that it follows."""
        followers = [(knob.path, c) for knob in self.knobs if isinstance(c := knob.controller, Follow)]
        read = {path: follow.update(state[path], state[follow.knob])[0] for path, follow in followers}
        return {knob.path: (state | read)[knob.path] for knob in self.knobs}

    def values(self, state: ControlState) -> dict[str, float]:
        return {knob.path: knob.clamp(state[knob.path]["output"]) for knob in self.knobs}

    def objective(self, values: Mapping[str, float]) -> Objective:
        """The objective at these knob values."""
        objective = self.template
        for knob in self.knobs:
            change = {knob.field: values[knob.path]}
            parts = getattr(objective, knob.slot)
            if isinstance(parts, Part):
                new: Any = replace(parts, term=replace(parts.term, **change))
            else:
                new = tuple(replace(p, term=replace(p.term, **change)) if p.name == knob.term else p for p in parts)
            objective = replace(objective, **{knob.slot: new})
        return objective


def watches(control: Control) -> dict[str, Watch]:
    """Knob path -> a fresh watch on its loop. A follower closes none."""
    leaders = [knob for knob in control.knobs if not isinstance(knob.controller, Follow)]
    return {knob.path: Watch(next(iter(knob.controller.signals), "its signal")) for knob in leaders}


def _split(slot: str, part: tuple[str, str, Mapping[str, Any]], knobs: list[Knob]) -> tuple[str, str, dict[str, Any]]:
    """Replace every controller among the options of ``part`` by its first value, and note the knob."""
    name, kind, options = part
    cls = REGISTRIES[slot][kind]
    known = {f.name: f for f in fields(cls)}
    plain = dict(options)
    for key, value in options.items():
        if not isinstance(value, Mapping) or key not in known:
            continue
        meta = known[key].metadata
        if meta.get("fixed") or "float" not in str(known[key].type):
            raise ValueError(f"{slot}.{name}.{key} takes no controller")
        if len(value) != 1:
            raise ValueError(f"{slot}.{name}.{key}: name exactly one controller, not {sorted(value)}")
        controller = CONTROLLERS.build(*next(iter(value.items())))
        knob = Knob(slot, name, key, controller, cls.info.clock, *_range(meta))
        knobs.append(knob)
        plain[key] = knob.clamp(controller.init()["output"])
    return name, kind, plain


def _range(meta: Mapping[str, Any]) -> tuple[float, float]:
    """The closed range of a field: an exclusive bound gives way by the smallest step, and what is open ends as all numbers do."""
    low = math.nextafter(meta["above"], math.inf) if "above" in meta else -LARGEST
    low = SMALLEST if meta.get("above") == 0 else low
    high = math.nextafter(meta["below"], -math.inf) if "below" in meta else LARGEST
    return max(low, meta.get("low", low)), min(high, meta.get("high", high))
