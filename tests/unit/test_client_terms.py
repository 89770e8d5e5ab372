"""Every registered term in a loop that is not TRL's: it gives what trainers/ compute, or it is refused by name."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from unit.client_support import MAX_LENGTH, by_trainer, gradients_of, handed, whole
from unit.rl_support import ALL, SLOTS, label, near

from entropostat.client import ClientLoss
from entropostat.client.refusals import DERIVED, EVERY_LOOP, IN_LOSS, LIVE, PROMISED, refusals
from entropostat.client.sample import CARRIED
from entropostat.rl.control import Control
from entropostat.rl.objective import Objective
from entropostat.rl.registry import DATA, LOSSES, SCALARS

Setting = tuple[str, str, dict[str, Any]]


def spec_of(setting: Setting) -> dict[str, Any]:
    slot, kind, options = setting
    part = (kind, kind, options)
    base = [("grpo", "grpo", {})]
    spec: dict[str, Any] = {"loss": ("unclipped", "unclipped", {}), "advantages": base}
    if slot == "loss":
        return {**spec, "loss": part}
    if slot == "advantages":
        return {**spec, slot: [*base, part] if SLOTS[slot][kind].reshapes else [part]}
    return {**spec, slot: [part]}


def runs(setting: Setting, gives: tuple[str, ...]) -> Control | None:
    control = Control.build(spec_of(setting))
    return control if not [*refusals(control, frozenset(gives), 2, None)] else None


OTHERS: list[Setting] = [
    *(("scalars", kind, {}) for kind in SCALARS.names()),
    *(("data", kind, {}) for kind in DATA.names() if kind != "rsr"),
    *(("loss", kind, {}) for kind in LOSSES.names() if LOSSES[kind].delegated),
]
FULL_STEER: Setting = ("weights", "steer", {"omega": "full", "scope": "micro"})
FULL = [setting for setting in [*ALL, FULL_STEER] if runs(setting, PROMISED)]


@pytest.mark.parametrize("setting", FULL, ids=label)
def test_a_term_that_runs_has_the_loss_and_the_gradient_of_the_trainers(setting: Setting) -> None:
    spec, batch = spec_of(setting), whole(3)
    want, slopes = by_trainer(Objective.build(spec), batch)
    given = handed(batch, PROMISED)
    loss = ClientLoss(spec, gives=PROMISED, max_length=MAX_LENGTH, passes=2, seed=batch.seed)
    value, metrics = loss(given.samples, given.logprobs, **given.live)
    value.backward()
    near(value.detach(), want, 1e-10)
    for name, slope in gradients_of(given, batch).items():
        near(slope, slopes[name], 1e-10)
    assert all(isinstance(x, float) for x in metrics.values())


def test_the_terms_that_run_are_of_every_slot_and_most_of_them() -> None:
    kinds = {(slot, kind) for slot, kind, _ in FULL}
    assert {slot for slot, _ in kinds} == {*SLOTS} and len(kinds) > 0.6 * len({s[:2] for s in ALL}), len(kinds)


@pytest.mark.parametrize("setting", [*ALL, *OTHERS], ids=label)
def test_a_term_runs_on_what_every_loop_has_or_is_refused_in_a_line_that_says_what_it_lacks(setting: Setting) -> None:
    slot, kind, _ = setting
    part = next(p for p in Objective.build(spec_of(setting)).parts if p.name == kind)
    if runs(setting, ()):
        assert part.needs | part.rollout_needs <= EVERY_LOOP | DERIVED | {"sampler_logps"}
        given = handed(whole(5))
        value, _ = ClientLoss(spec_of(setting), max_length=MAX_LENGTH, passes=2)(given.samples, given.logprobs)
        value.backward()
        assert torch.isfinite(value) and all(torch.isfinite(row.grad).all() for row in given.logprobs)
        return
    with pytest.raises(ValueError) as error:
        ClientLoss(spec_of(setting), max_length=MAX_LENGTH, passes=2)
    lines = str(error.value).splitlines()
    assert all(line.startswith(f"objective.{slot}.{kind}: ") and "lacks " in line for line in lines), lines
    missing = (part.needs - IN_LOSS) | (part.rollout_needs - EVERY_LOOP - DERIVED)
    for name in missing - {"sampler_logps"} - DERIVED:
        assert name in str(error.value)


@pytest.mark.parametrize("field", PROMISED)
def test_every_field_that_may_be_promised_is_a_place_of_a_sample_or_comes_with_the_call(field: str) -> None:
    assert field in CARRIED or field in LIVE
    assert any(not runs(s, tuple({*PROMISED} - {field})) for s in FULL), field
