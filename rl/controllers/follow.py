"""A knob that follows another one: it takes a number that the other knob's controller keeps in its state.

    value = state(knob)[key]

So one controller can drive two actuators, each a plain field of its own term: ``autopilot`` keeps what its first actuator
leaves over under ``rest``. The loop is closed once, by the controller that is followed: followers are resolved after the
others, from the state that those have just reached, and add nothing of their own. On loops with two actuators: Astrom 2006
(with Hagglund, Advanced PID Control). The wiring is ours.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.rl.info import State
from entropostat.rl.registry import CONTROLLERS, option
from entropostat.rl.spelling import unknown
from entropostat.rl.term import Controller


@CONTROLLERS.register("follow", paper="Astrom 2006")
@dataclass(frozen=True)
class Follow(Controller):
    """Take the value that another knob's controller keeps under a key.

    It holds its last value where the other has none. A follower cannot be followed. Watch both knobs: two that move the same
    signal fight, unless one controller shares the work out between them.
    """

    knob: str = option(doc="the knob that is followed: weights.entropy_tilt.gain, penalties.kl_ref.coef, ...")
    key: str = option("output", doc="which number of its state: output, rest, integral, ...")

    @property
    def signals(self) -> tuple[str, ...]:
        return ()

    def init(self) -> State:
        return {"output": 0.0}

    def update(self, state: State, signals: Mapping[str, float]) -> tuple[State, float]:
        """``signals`` is the state of the knob that is followed."""
        value = signals.get(self.key, math.nan)
        return (state, state["output"]) if not math.isfinite(value) else ({"output": value}, value)


def broken(controllers: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """(knob, what is wrong) of every follower that has nothing to follow, among the controllers of all knobs."""
    followed = {path: c for path, c in controllers.items() if not isinstance(c, Follow)}
    for path, controller in controllers.items():
        if not isinstance(controller, Follow):
            continue
        leader = controllers.get(controller.knob)
        if leader is None:
            yield path, unknown("knob", controller.knob, followed) if followed else "there is no other knob to follow"
        elif isinstance(leader, Follow):
            which = "itself" if controller.knob == path else "a follower"
            yield path, f"follows {which}, {controller.knob}: name the knob whose controller reads a signal"
        elif controller.key not in leader.init():
            yield path, unknown(f"number in the state of {controller.knob}", controller.key, leader.init())
