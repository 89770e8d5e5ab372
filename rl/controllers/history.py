"""The last values of a series inside a controller's state, which holds plain numbers under plain names."""

from __future__ import annotations

from entropostat.rl.info import State


def read(state: State, name: str) -> list[float]:
    """Oldest first."""
    values: list[float] = []
    while f"{name}_{len(values)}" in state:
        values.append(state[f"{name}_{len(values)}"])
    return values


def push(state: State, name: str, value: float, size: int) -> State:
    """The series as it is after ``value``, cut to the last ``size``: to be merged into the state."""
    values = [*read(state, name), value][-size:]
    return {f"{name}_{index}": item for index, item in enumerate(values)}
