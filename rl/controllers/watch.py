"""What is wrong with a loop, in words: from the state that its controller keeps, update by update.

    missing       nothing measured for as long as the controller's own alarm takes
    unreachable   at one bound for PATIENCE updates: the target is out of this actuator's reach, or it is too narrow
    swinging      thrown from one bound to the other TURNS times within PATIENCE updates: gains too high for the noise, the
                  delay, or the plant

Each is told once until it is over. Thresholds are ours: PATIENCE is a tenth of a short run, and a loop that settles
saturates at both bounds once or twice on the way (Astrom and Hagglund, Advanced PID Control, 2006, on actuator saturation).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

PATIENCE = 50
TURNS = 4


@dataclass
class Watch:
    """One loop's memory: how long it has been at a bound, and when it was last thrown to the other one."""

    signal: str
    updates: int = 0
    side: float = 0.0
    """The bound that it was last at: the sign of the error there."""
    since: int = 0
    """Updates in a row at that bound."""
    turns: list[int] = field(default_factory=list)
    told: set[str] = field(default_factory=set)

    def look(self, state: Mapping[str, float]) -> list[str]:
        """After one update: what to tell now, each a sentence."""
        self.updates += 1
        problems: dict[str, str] = {}
        if state.get("alarm"):
            missed = int(state.get("missed", 0))
            problems["missing"] = (
                f"nothing measured of {self.signal!r} for {missed} updates (NaN, or nobody computes it): the last value holds"
            )
        error = state.get("error", 0.0)
        if state.get("saturated") and error:
            side = math.copysign(1.0, error)
            if self.side and side != self.side:
                self.turns.append(self.updates)
            self.since = self.since + 1 if side == self.side else 1
            self.side = side
        elif not state.get("missed"):
            self.since = 0
        self.turns = [turn for turn in self.turns if turn > self.updates - PATIENCE]
        at = f"target {state.get('target', math.nan):.4g}, {self.signal} {state.get('smoothed', math.nan):.4g}"
        if len(self.turns) >= TURNS:
            problems["swinging"] = (
                f"thrown from bound to bound {len(self.turns)} times in {PATIENCE} updates ({at}): "
                "lower ki and kp, or smooth the signal more"
            )
        elif self.since >= PATIENCE:
            problems["unreachable"] = (
                f"at its bound for {self.since} updates ({at}): this actuator does not reach the target within its bounds; "
                "widen them, choose another target, or another actuator"
            )
        over = {"missing": not state.get("alarm"), "unreachable": not self.since, "swinging": not self.turns}
        self.told -= {cause for cause, ended in over.items() if ended}
        new = [text for cause, text in problems.items() if cause not in self.told]
        self.told |= set(problems)
        return new

    def state_dict(self) -> dict[str, Any]:
        """Plain values, for a checkpoint."""
        return {**asdict(self), "told": sorted(self.told)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Go on from ``state_dict``'s values; the signal stays the one of this run."""
        self.updates, self.side, self.since = saved["updates"], saved["side"], saved["since"]
        self.turns, self.told = list(saved["turns"]), set(saved["told"])
