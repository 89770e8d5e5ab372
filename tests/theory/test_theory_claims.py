"""No term without a word on what it does to entropy."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from theory.claims import CLAIMS, NONE

from entropostat.rl.registry import ADVANTAGES, LOSSES, PENALTIES, REWARDS, WEIGHTS

SLOTS = pytest.mark.parametrize(
    "registry", [REWARDS, ADVANTAGES, WEIGHTS, LOSSES, PENALTIES], ids=lambda registry: registry.slot
)


@SLOTS
def test_every_term_claims_a_direction_or_says_why_not(registry):
    claims, none = CLAIMS[registry.slot], NONE[registry.slot]
    assert not set(claims) & set(none)
    silent = set(registry.names()) - set(claims) - set(none)
    assert not silent, (
        f"{registry.slot} {silent}: say in tests/theory/claims.py what they do to entropy, or why nothing is said"
    )
    assert set(claims) | set(none) <= set(registry.names())


@SLOTS
def test_every_claim_has_its_test_and_every_refusal_its_reason(registry):
    text = "".join(path.read_text() for path in Path(__file__).parent.glob("test_theory_*.py"))
    written = set(re.findall(r"^def (test_\w+)\(", text, re.MULTILINE))
    assert set(CLAIMS[registry.slot].values()) <= written
    assert all(len(reason) > 20 for reason in NONE[registry.slot].values())
