"""What the terms of an objective ask a pass over the vocabulary for, phase by phase."""

from __future__ import annotations

import pytest

from entropostat.rl.objective import Objective
from entropostat.rl.vocab_sums import Wanted


def test_requests_are_merged():
    parts = [
        Wanted((), (1.2,), min_p=0.02, top_k=16),
        Wanted(("logit",), (0.8, 1.2)),
        Wanted(("logp", "logit"), min_p=0.02),
    ]
    assert Wanted.merged(parts) == Wanted(("logp", "logit"), (0.8, 1.2), min_p=0.02, top_k=64)
    assert Wanted.merged([]) == Wanted(())


def test_two_truncations_at_once_are_refused():
    with pytest.raises(ValueError, match=r"min_p 0\.02 and 0\.1: use one"):
        Wanted.merged([Wanted(min_p=0.1), Wanted(min_p=0.02)])


def test_what_min_p_keeps_is_computed_where_it_is_read_and_soft_labels_where_they_are_met():
    spec = {"loss": ("unclipped", "unclipped", {}), "penalties": [("lp_reg", "lp_reg", {"kappa": 0.1, "top_k": 16})]}
    o = Objective.build(spec)
    assert o.vocabulary(o.rollout_needs) == Wanted((), min_p=0.1, kept=True, top_k=16)
    assert o.vocabulary(o.needs) == Wanted((), soft=True, top_k=16)
    spec["penalties"] = [("lp_reg", "lp_reg", {"filter": "fixed", "proxy": "current"})]
    o = Objective.build(spec)
    assert o.vocabulary(o.rollout_needs) is None
    assert o.vocabulary(o.needs) == Wanted((), min_p=0.02, absolute=True)


def test_two_kinds_of_min_p_and_two_bringers_of_soft_labels_are_refused():
    with pytest.raises(ValueError, match="one of them as a fixed probability"):
        Wanted.merged([Wanted(min_p=0.1, absolute=True), Wanted(min_p=0.1)])
    with pytest.raises(ValueError, match="two terms bring soft labels"):
        Wanted.merged([Wanted(soft=True), Wanted(soft=True)])
