"""Where the reference policy cannot move, and what is said of it."""

from __future__ import annotations

import pytest
from support import tiny

from entropostat.rl.reduce import LOCAL
from entropostat.trainers.state.anchor import attach_anchor

REFUSED = {
    "two references": (
        [{"kl_ref": {"reference": "ema"}}, {"kl_ref": {"name": "second"}}],
        {},
        "objective.penalties: kl_ref and second move the reference differently",
    ),
    "synchronised by TRL as well": (
        [{"kl_ref": {"reference": "ema"}}],
        {"sync_ref_model": True},
        "objective.penalties.kl_ref.reference: ema and sync_ref_model: true both move the reference",
    ),
    "a reset without a cause": (
        [{"kl_ref": {"reference": "reset"}}],
        {},
        "kl_ref.reference: reset never happens without `every` or `patience`",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_move_is_refused(path: str, case: str) -> None:
    penalties, changes, message = REFUSED[case]
    with pytest.raises(ValueError, match=message):
        tiny.ours(path, tiny.objective(penalties=penalties), **changes)


def test_a_reference_under_fsdp_is_refused(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    trainer = tiny.ours(path, tiny.objective(penalties=[{"kl_ref": {"reference": "ema"}}]))
    trainer.is_fsdp_enabled = True
    with pytest.raises(ValueError, match="cannot move a reference that FSDP holds; use ddp or a zero stage"):
        attach_anchor(trainer, trainer.thermostat.control, LOCAL, trainer.distribution)


def test_two_terms_may_share_one_moving_reference(path: str) -> None:
    penalties = [{"kl_ref": {"reference": "ema", "every": 3}}, {"kl_ref": {"name": "second", "reference": "ema"}}]
    assert tiny.ours(path, tiny.objective(penalties=penalties)).anchor.moves
