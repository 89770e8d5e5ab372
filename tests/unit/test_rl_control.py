"""Recipes to objectives: names, ranges, knobs and what the errors say."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, fields, replace

import pytest
import torch
from unit.rl_support import batch_of

from entropostat.rl.control import Control
from entropostat.rl.objective import Objective, normalise_terms
from entropostat.rl.parts import Part
from entropostat.rl.registry import (
    LARGEST,
    LOSSES,
    PENALTIES,
    REGISTRIES,
    SMALLEST,
    WEIGHTS,
    Registry,
    TermError,
    check,
    option,
    out_of_range,
)
from entropostat.rl.spelling import unknown
from entropostat.rl.term import Scalar

PID = {"pid": {"signal": "entropy", "target": 1.0, "ki": 0.5, "high": 5.0}}


def spec(*penalties, **slots):
    return {"loss": ("trl", "trl", {}), "penalties": list(penalties)} | slots


def test_term_lists_are_normalised_with_their_names():
    parts = ["grpo", {"kl_ref": {"name": "second", "coef": 0.1}}, {"kl_ref": None}]
    want = [("grpo", "grpo", {}), ("second", "kl_ref", {"coef": 0.1}), ("kl_ref", "kl_ref", {})]
    assert normalise_terms(parts) == want
    assert parts[1] == {"kl_ref": {"name": "second", "coef": 0.1}}


def test_two_terms_of_one_kind_need_names_and_report_under_them():
    with pytest.raises(ValueError, match="two terms are named 'kl_ref': give one of them its own `name:`"):
        Objective.build(spec(("kl_ref", "kl_ref", {}), ("kl_ref", "kl_ref", {})))
    two = spec(("near", "kl_ref", {"coef": 1.0}), ("far", "kl_ref", {"coef": 2.0}), loss=("unclipped", "unclipped", {}))
    token, metrics = Objective.build(two).token_loss(batch_of(0))
    assert {"near/kl", "far/kl"} <= set(metrics)
    one = spec(("kl_ref", "kl_ref", {"coef": 3.0}), loss=("unclipped", "unclipped", {}))
    torch.testing.assert_close(token, Objective.build(one).token_loss(batch_of(0))[0])


def test_an_objective_needs_what_its_terms_need_in_each_phase():
    o = Objective.build(spec(("kl_ref", "kl_ref", {}), weights=[("clip_cov", "clip_cov", {})]))
    assert o.needs == {"ref_logps", "old_logps"}
    assert o.rollout_needs == {"old_logps"}
    micro = Objective.build(spec(weights=[("clip_cov", "clip_cov", {"scope": "micro"})]))
    assert micro.rollout_needs == frozenset()
    graded = Objective.build(spec(advantages=[("grpo", "grpo", {})]))
    assert graded.rollout_needs == {"rewards"}


def test_weights_multiply():
    def weight(*kinds):
        parts = [(k, k, {"fraction": 0.5} | ({"low": -9.0} if k == "clip_cov" else {})) for k in kinds]
        o = Objective.build(spec(weights=parts))
        return o.weight(batch_of(0), o.rollout(batch_of(0)).stats)[0]

    assert torch.equal(weight("clip_cov", "high_entropy"), weight("clip_cov") * weight("high_entropy"))
    assert weight() is None


def test_the_chain_hands_every_advantage_to_the_next_term_and_weights_see_the_last():
    @dataclass(frozen=True)
    class Doubled:
        info = REGISTRIES["advantages"]["grpo"].info

        def __call__(self, batch):
            return 2 * batch.require("advantages"), {}

    plain = Objective.build(
        spec(advantages=[("dr_grpo", "dr_grpo", {})], weights=[("clip_cov", "clip_cov", {"low": 0.0, "high": 9.0})])
    )
    chained = replace(plain, advantages=(*plain.advantages, Part("doubled", Doubled())))
    a, b = plain.rollout(batch_of(0)), chained.rollout(batch_of(0))
    torch.testing.assert_close(b.advantages, 2 * a.advantages)
    prepared = plain.weights[0].term.prepare(batch_of(0, advantages=b.advantages))
    assert torch.equal(b.stats["clip_cov"]["admissible"], prepared["admissible"])


def test_a_metric_that_no_registration_declares_is_an_error():
    @dataclass(frozen=True)
    class Chatty:
        info = LOSSES["unclipped"].info

        def __call__(self, batch):
            return batch.logps, {"surprise": batch.logps.sum()}

    with pytest.raises(KeyError, match="mine reports 'surprise', which its registration does not declare"):
        Objective((), Part("mine", Chatty())).surrogate(batch_of(0))


def test_a_controller_starts_its_field_and_moves_it_and_nothing_else():
    control = Control.build(
        spec(("entropy_bonus", "entropy_bonus", {"coef": PID}), ("kl_ref", "kl_ref", {"coef": 0.25}))
    )
    assert [k.path for k in control.knobs] == ["penalties.entropy_bonus.coef"]
    assert control.signals == {"entropy"}
    assert control.template.penalties[0].term.coef == 0.0
    state = control.init()
    for _ in range(2):
        state = control.update(json.loads(json.dumps(state)), {"entropy": 0.5})
    values = control.values(state)
    assert values == {"penalties.entropy_bonus.coef": pytest.approx(0.5)}
    bonus, kl = control.objective(values).penalties
    assert bonus.term.coef == pytest.approx(0.5) and kl.term.coef == 0.25
    assert control.template.penalties[0].term.coef == 0.0


def test_two_terms_of_one_kind_are_controlled_apart():
    control = Control.build(spec(("a", "kl_ref", {"coef": PID}), ("b", "kl_ref", {"coef": PID})))
    changed = control.objective({"penalties.a.coef": 1.0, "penalties.b.coef": 2.0})
    assert [p.term.coef for p in changed.penalties] == [1.0, 2.0]


def test_the_loss_can_be_controlled_too():
    up = {"schedule": {"points": [[0, 0.2], [10, 0.4]]}}
    control = Control.build(spec(loss=("trl", "trl", {"epsilon_high": up})))
    state = control.update(control.init(), {"step": 5.0})
    assert control.objective(control.values(state)).loss.term.epsilon_high == pytest.approx(0.3)


def test_a_controller_cannot_leave_the_range_that_the_field_declares():
    wild = {"schedule": {"points": [[0, -3.0], [10, 7.0]]}}
    control = Control.build(spec(weights=[("kept", "high_entropy", {"fraction": wild})]))
    first = control.template.weights[0].term.fraction
    assert 0 <= first <= 1
    check(control.template.weights[0].term)
    for step, want in ((5.0, 1.0), (10.0, 1.0)):
        state = control.update(control.init(), {"step": step})
        assert control.values(state)["weights.kept.fraction"] == want


def test_an_exclusive_bound_is_never_reached_by_a_controller():
    wild = {"schedule": {"points": [[0, -3.0]]}}
    for slot, kind, key in (
        ("weights", "high_entropy", "fraction"),
        ("weights", "clip_cov", "fraction"),
        ("penalties", "kl_cov", "fraction"),
    ):
        control = Control.build(spec(**{slot: [(kind, kind, {key: wild})]}))
        value = control.values(control.init())[f"{slot}.{kind}.{key}"]
        assert value > 0
        check(getattr(control.objective({f"{slot}.{kind}.{key}": value}), slot)[0].term)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"clamp": PID}, "penalties.kl_ref.clamp takes no controller"),
        ({"gradient": PID}, "penalties.kl_ref.gradient takes no controller"),
        ({"coef": PID | {"step": {}}}, r"penalties.kl_ref.coef: name exactly one controller, not \['pid', 'step'\]"),
        ({"coef": {}}, r"penalties.kl_ref.coef: name exactly one controller, not \[\]"),
        ({"coef": {"pdi": {}}}, "unknown controllers term 'pdi', did you mean 'pid'?"),
        (
            {"coef": {"pid": {"signal": "kl", "target": 1.0, "kq": 1}}},
            "unknown key of controllers/pid 'kq'; known: .*kd, ki, kp",
        ),
        ({"coeff": 0.1}, "unknown key of penalties/kl_ref 'coeff', did you mean 'coef'?"),
        ({"coef": -1.0}, "KLRef.coef: -1.0 must be at least 0"),
        ({"coef": float("nan")}, r"KLRef.coef: is not a number \(nan\)"),
        ({"divergence": "kl"}, "KLRef.divergence: 'kl' is not one of reverse_kl"),
    ],
)
def test_a_wrong_option_is_named_with_the_nearest_spelling(options, message):
    with pytest.raises((KeyError, ValueError), match=message):
        Control.build(spec(("kl_ref", "kl_ref", options)))


def test_an_unknown_term_is_named_with_the_nearest_spelling():
    with pytest.raises(KeyError, match="unknown weights term 'clip_cv', did you mean 'clip_cov'"):
        WEIGHTS.build("clip_cv")
    assert unknown("thing", "zzz", ["b", "a"]) == "unknown thing 'zzz'; known: a, b"


def test_ranges_are_inclusive_or_exclusive_as_declared():
    @dataclass(frozen=True)
    class Term:
        x: float = option(0.5, low=0.0, high=1.0, doc="x")
        y: float = option(0.5, above=0.0, below=1.0, doc="y")

    x, y = fields(Term)
    assert [out_of_range(x, v) for v in (0, 1, 0.3)] == [None] * 3
    assert out_of_range(x, -0.1) == "-0.1 must be at least 0" and out_of_range(x, 1.1) == "1.1 must be at most 1"
    assert out_of_range(y, 0.3) is None
    assert out_of_range(y, 0.0) == "0.0 must be above 0" and out_of_range(y, 1.0) == "1.0 must be below 1"
    assert out_of_range(x, "text") is None and out_of_range(x, True) is None


@pytest.mark.parametrize("slot", REGISTRIES)
def test_no_option_of_any_term_takes_what_float32_cannot_hold(slot):
    for name in REGISTRIES[slot].names():
        for f in fields(REGISTRIES[slot][name]):
            if "float" not in str(f.type):
                continue
            for value in (math.inf, -math.inf, math.nan, 1e300, -1e300, 10**400):
                assert out_of_range(f, value), (name, f.name, value)
            if f.metadata.get("above") == 0:
                assert out_of_range(f, 1e-300) == "1e-300 must be at least 1e-18"


def test_a_controller_moves_no_knob_beyond_what_float32_holds():
    one = {"constant": {"value": 1.0}}
    slots = {"penalties": [("entropy_bonus", "entropy_bonus", {"coef": one})], "loss": ("trl", "trl", {"epsilon": one})}
    knobs = {knob.field: knob for knob in Control.build(slots).knobs}
    assert (knobs["coef"].clamp(math.inf), knobs["coef"].clamp(-math.inf)) == (LARGEST, -LARGEST)
    assert knobs["epsilon"].clamp(-1.0) == SMALLEST


def test_a_registration_must_be_a_dataclass_and_unique():
    mine = Registry("scalars", "entropostat.rl.scalars", Scalar)
    with pytest.raises(TermError, match="scalars/plain: Plain must be a frozen dataclass"):
        mine.register("plain", paper="arXiv:0000.00000")(type("Plain", (), {}))

    @dataclass(frozen=True)
    class Rate(Scalar):
        pass

    mine.register("a", paper="arXiv:0000.00000")(Rate)
    with pytest.raises(TermError, match="scalars/a is registered twice"):
        mine.register("a", paper="arXiv:0000.00000")(Rate)


def test_every_registry_lists_its_terms():
    assert set(PENALTIES.names()) >= {"entropy_bonus", "kl_cov", "kl_ref"}
    assert set(WEIGHTS.names()) >= {"clip_cov", "high_entropy"}
    assert set(REGISTRIES["advantages"].names()) >= {"grpo", "dr_grpo", "rloo"}
    assert set(REGISTRIES["controllers"].names()) >= {"pid", "schedule", "step"}
