"""What the driver makes of a generation, and what workers make of that: equal to the objective over the whole batch in one process."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from in_verl.support import PROMPT, Layout, Recorded, apart, ours, settings
from verl.utils import tensordict_utils as tu
from verl.utils.metric import Metric, reduce_metrics

from entropostat.client import ClientLoss, Sample
from entropostat.rl.measured import Largest, Mean, Smallest
from entropostat.rl.window import Window
from entropostat.verl.driver import Driver
from entropostat.verl.fields import GENERATION, UIDS
from entropostat.verl.reported import closed, is_largest, measured

SCATTERED: Layout = [[11, 0, 5], [7, 2], [1, 3, 4, 10], [9], [8, 6]]
LOSS = {"ppo_clip": {"epsilon": 0.2, "epsilon_high": 0.28}}
WHOLE = {
    "advantages": [{"grpo": {}}, {"entropy_shaped": {}}],
    "weights": [{"clip_cov": {"low": -9.0, "high": 9.0, "fraction": 0.2}}, {"high_entropy": {}}, {"truncated_is": {}}],
    "loss": LOSS,
    "penalties": [
        {"kl_cov": {"fraction": 0.1}},
        {"kl_ref": {"coef": 0.1}},
        {"entropy_bonus": {"coef": 0.01, "select": "top"}},
        {"renyi_bonus": {"coef": 0.01}},
    ],
}
PID = {"pid": {"signal": "entropy", "target": 0.5, "effect": "raises", "kp": 0.1, "high": 1.0}}
HELD = {"advantages": ["grpo"], "loss": LOSS, "penalties": [{"entropy_bonus": {"coef": PID}}]}


def by_client(recorded: Recorded, block: dict[str, Any]) -> tuple[float, torch.Tensor]:
    """Loss and gradient of the same block as a callable over the whole batch."""
    gives = ["ref_logps", "sampler_logps", "old_entropy", "entropy", "sum_p2"]
    places = {key: i for i, key in enumerate(sorted(recorded.keys))}
    samples = [
        Sample(
            mask=row["response_mask"],
            old_logps=row["old_log_probs"],
            sampler_logps=row["rollout_log_probs"],
            ref_logps=row["ref_log_prob"],
            old_entropy=row["entropy"],
            reward=float(row["rm_scores"].sum()),
            group=row["uid"],
            uid=places[key],
        )
        for key, row in zip(recorded.keys, recorded.rows, strict=True)
    ]
    outputs = recorded.outputs()
    cut = {name: [x[PROMPT - 1 : -1] for x in rows] for name, rows in outputs.items()}
    loss = ClientLoss(block, gives=gives)
    value, _ = loss(samples, cut["log_probs"], entropy=cut["entropy"], sum_p2=cut["sum_pi_squared"])
    value.backward()
    return value.item(), torch.cat([x.grad for x in outputs["log_probs"] if x.grad is not None])


@pytest.mark.parametrize("layout", [None, SCATTERED])
def test_any_layout_is_the_objective_over_the_whole_batch(layout: Layout | None) -> None:
    recorded = Recorded()
    found = ours(Driver(settings(WHOLE)), recorded, layout)
    loss, gradient = by_client(recorded, WHOLE)
    assert found.loss == pytest.approx(loss, abs=1e-12)
    torch.testing.assert_close(found.logps, gradient, rtol=0, atol=1e-12)


def test_the_order_of_sequences_does_not_matter() -> None:
    """verl brings them into an order that depends on the number of ranks."""
    recorded, turned = Recorded(), Recorded()
    order = torch.randperm(len(recorded.rows), generator=torch.Generator().manual_seed(1)).tolist()
    keys = [recorded.keys[i] for i in order]
    turned.rows = [recorded.rows[i] for i in order]
    driver = Driver(settings(WHOLE))
    straight, _, _ = driver.generation(recorded.data(), recorded.keys, [False] * 12)
    other, _, _ = Driver(settings(WHOLE)).generation(turned.data(), keys, [False] * 12)
    for name in straight.keys():  # noqa: SIM118
        for place, i in enumerate(order):
            assert torch.equal(other[name][place], straight[name][i]), name


def test_sequences_that_fill_up_a_batch_are_no_part_of_it() -> None:
    recorded, filled = Recorded(), Recorded()
    filled.rows = [dict(filled.rows[5]), *filled.rows, dict(filled.rows[0])]
    for added in (filled.rows[0], filled.rows[-1]):
        added |= {"uid": "pad", "response_mask": torch.zeros_like(added["response_mask"])}
        added["rm_scores"] = torch.full_like(added["rm_scores"], 99.0)
    keys = ["pad_0_0", *recorded.keys, "pad_1_0"]
    plain, told, logged = Driver(settings(WHOLE)).generation(recorded.data(), recorded.keys, [False] * 12)
    more, told_more, logged_more = Driver(settings(WHOLE)).generation(filled.data(), keys, [True, *[False] * 12, True])
    assert told["constants"] == told_more["constants"] and logged == logged_more
    for i in range(12):
        assert torch.equal(more["advantages"][i + 1], plain["advantages"][i])
    assert not more["advantages"][0].any() and not more["advantages"][13].any()


def test_several_outputs_of_one_session_are_refused() -> None:
    with pytest.raises(ValueError, match="p0_0_1: an agent loop with several outputs a session"):
        Driver(settings(HELD)).generation(Recorded().data(), ["p0_0_0", "p0_0_1"], [False] * 2)


def test_a_field_that_verl_did_not_make_is_named() -> None:
    data = Recorded().data()
    data.pop("ref_log_prob")
    driver = Driver(settings({**HELD, "advantages": ["grpo", {"kl_reward": {"coef": 0.1}}]}))
    with pytest.raises(ValueError, match="no 'ref_log_prob', which the objective reads"):
        driver.generation(data, Recorded().keys, [False] * 12)


def test_workers_refuse_a_batch_that_the_driver_has_not_seen() -> None:
    recorded = Recorded()
    with pytest.raises(RuntimeError, match=r"trainer\.v1\.trainer_mode=entropostat"):
        Driver(settings(HELD)).loss({}, recorded.data())


def test_knobs_travel_with_the_generation() -> None:
    driver = Driver(settings(HELD))
    _, told, _ = driver.generation(Recorded().data(), Recorded().keys, [False] * 12)
    assert told["knobs"] == driver.thermostat.control.values(driver.thermostat.state)
    before = ours(driver, Recorded())
    driver.thermostat.state["penalties.entropy_bonus.coef"]["output"] = 0.7
    assert apart(ours(driver, Recorded()), before) > 1e-3


MINI_BATCHES = [[[[0], [1, 2]], [[4], [5]]], [[[3]], [[6, 7, 8, 9, 10, 11]]]]
"""Rows of each micro-batch, of each of two ranks, of two mini-batches."""
READ = frozenset({"entropy", "entropy_seq", "nll", "kl", "kl_old", "clip_fraction", "ratio_max", "ratio_min"})


def test_what_controllers_read_survives_verls_reductions() -> None:
    """Means over ranks, sums over micro-batches, means over mini-batches: together they are what one window measures."""
    recorded = Recorded(far=0.5)
    driver = Driver(settings(WHOLE))
    control = driver.settings.control
    fields, told, _ = driver.generation(recorded.data(), recorded.keys, [False] * 12)
    window, reduced = Window(READ), dict[str, list[float]]()
    for ranks in MINI_BATCHES:
        by_rank: list[dict[str, Metric]] = [{}, {}]
        for rank, told_of in zip(ranks, by_rank, strict=True):
            for rows in rank:
                batch, metrics = _batch(driver, recorded, fields, told, rows)
                metrics = metrics | {"named/min_of_max": Mean.over(batch.logps, batch.mask)}  # words that verl goes by
                metrics |= {
                    f"named/{kind.__name__}": kind.over(batch.logps, batch.mask) for kind in (Largest, Smallest)
                }
                window.add(batch, metrics, control.template.loss.term)
                for key, value in measured(batch, metrics, READ, control.template.loss.term).items():
                    told_of.setdefault(key, Metric("max" if is_largest(key) else "sum")).append(value)
        for key in by_rank[0]:
            reduced.setdefault(f"actor/{key}", []).append(Metric.aggregate_dp([rank[key] for rank in by_rank]))
    found, wanted = closed(reduce_metrics(reduced)), window.close()
    assert found.signals.keys() == wanted.signals.keys()
    for name, value in wanted.signals.items():
        assert found.signals[name] == pytest.approx(value, rel=1e-9), name
    assert found.metrics == pytest.approx(wanted.metrics, rel=1e-9, nan_ok=True)


def _batch(driver: Driver, recorded: Recorded, fields: Any, told: Any, rows: list[int]) -> Any:
    """The batch as the loss reads it, and what its terms say."""
    caught: list[Any] = []
    loss = driver.loss
    data = recorded.data(rows)
    for name in fields.keys():  # noqa: SIM118
        data[name] = (
            torch.nested.as_nested_tensor([fields[name][i] for i in rows], layout=torch.jagged)
            if fields[name].is_nested
            else fields[name][rows]
        )
    tu.assign_non_tensor(data, **{GENERATION: told})
    outputs = recorded.outputs()
    given = {k: torch.nested.as_nested_tensor([v[i] for i in rows], layout=torch.jagged) for k, v in outputs.items()}
    patch = pytest.MonkeyPatch()
    patch.setattr(
        "entropostat.verl.actor_loss.measured", lambda batch, metrics, *_: caught.extend((batch, metrics)) or {}
    )
    loss(given, data)
    patch.undo()
    return caught[0], caught[1]


def test_controllers_move_by_a_step_and_not_by_one_that_verl_left_out() -> None:
    driver = Driver(settings(HELD))
    done = ours(driver, Recorded())
    metrics = reduce_metrics(
        {f"actor/{key}": [metric.aggregate()] for key, metric in done.metrics.items() if "pg" not in key}
    )
    driver.step(metrics, math.nan, steps=10)
    assert driver.updates == 0
    logged = driver.step(metrics, 1.0, steps=10)
    assert driver.updates == 1
    row = torch.cat([r["live_entropy"][PROMPT - 1 : -1][r["response_mask"].bool()] for r in Recorded().rows])
    assert logged["signal/entropy"] == pytest.approx(float(row.mean()), rel=1e-9)
    again = Driver(settings(HELD))
    again.load_state_dict(driver.state_dict())
    assert again.state_dict() == driver.state_dict()
    assert again.thermostat.objective == driver.thermostat.objective


def test_uids_follow_names_and_not_places() -> None:
    fields, _, _ = Driver(settings(HELD)).generation(Recorded().data(), Recorded().keys, [False] * 12)
    assert [int(row[0]) for row in fields[UIDS].unbind()] == [
        sorted(Recorded().keys).index(key) for key in Recorded().keys
    ]
