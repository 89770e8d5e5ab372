"""The first process of every machine acts for the others of its machine, and what fails on one ends all."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from entropostat.trainers import ranks


def everywhere(monkeypatch: pytest.MonkeyPatch, function: Any, machines: int = 2, each: int = 3) -> list[Any]:
    """What every rank gets, or the exception that ends it. Leaders before, so that what they gather is known to all."""
    boxes: dict[int, Any] = {}
    got: list[Any] = []
    for _ in ("the leaders", "all"):
        got = []
        for rank in range(machines * each):
            state = SimpleNamespace(process_index=rank, local_process_index=rank % each, num_processes=machines * each)
            monkeypatch.setattr(ranks, "PartialState", lambda state=state: state)

            def gather(mine: list[Any], rank: int = rank) -> list[Any]:
                boxes[rank] = mine[0]
                return [boxes.get(other, [None, None]) for other in range(machines * each)]

            monkeypatch.setattr(ranks, "gather_object", gather)
            try:
                got.append(ranks.on_each_machine(function, rank // each))
            except Exception as error:  # noqa: BLE001
                got.append(error)
    return got


def test_every_rank_gets_what_its_own_machine_made_first(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def make(machine: int) -> str:
        calls.append(machine)
        return f"folder {machine}"

    own, other = ["folder 0", "folder 1"], ["folder 1", "folder 0"]
    assert everywhere(monkeypatch, make) == [own] * 3 + [other] * 3
    assert calls == [0, 1] * 2, "once a machine"


def test_what_fails_on_one_machine_ends_all(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(machine: int) -> str:
        if machine:
            raise KeyError("no file")
        return "folder"

    ended = everywhere(monkeypatch, make)
    assert [type(error) for error in ended] == [RuntimeError] * 3 + [KeyError] + [RuntimeError] * 2
    assert all("no file" in str(error) for error in ended)
