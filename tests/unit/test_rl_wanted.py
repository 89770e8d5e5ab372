"""What the terms of an objective ask a pass over the vocabulary for, phase by phase."""

from __future__ import annotations

import pytest

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
