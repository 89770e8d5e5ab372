"""A name that the field also has for something else says so on its page."""

from __future__ import annotations

import pytest

from entropostat import catalog

CLASHES = {
    "penalties/aepo": ("2510.14545", "2510.08457"),
    "rewards/ares": ("penalties/aepo", "agentic"),
    "advantages/gtpo": ("2508.03772",),
    "advantages/dcpo": ("2509.02333",),
    "advantages/repo": ("2506.09340",),
    "advantages/seed": ("random numbers",),
    "advantages/ar": ("autoregression",),
    "advantages/maxrl": ("maximum-entropy",),
    "advantages/unlikeliness": ("1908.04319",),
    "loss/dppo": ("2409.00588",),
    "loss/ipo": ("2310.12036",),
    "loss/dro": ("group DRO",),
    "loss/copo": ("count-based",),
    "loss/flowrl": ("2505.05470",),
    "loss/sapo": ("swarm",),
    "loss/archer": ("2402.19446",),
    "weights/rejection": ("rejection sampling",),
    "weights/steer": ("activations",),
    "penalties/siren": ("2006.09661",),
    "controllers/average": ("moving average",),
    "controllers/adapo": ("DAPO",),
    "controllers/step": ("optimizer",),
    "rewards/diversity": ("diversity_weighted",),
}


def note(slot, name):
    doc = " ".join(catalog.load().terms[slot][name].doc.split())
    return doc.lower().partition("not to be confused with")[2]


@pytest.mark.parametrize("term", CLASHES)
def test_a_name_with_two_meanings_names_the_other_one(term):
    said = note(*term.split("/"))
    assert [other for other in CLASHES[term] if other.lower() not in said] == []


def test_a_name_that_two_slots_share_says_so_in_one_of_them():
    places = {}
    for slot, terms in catalog.load().terms.items():
        for name in () if slot in ("sources", "verifiers") else terms:
            places.setdefault(name, []).append(slot)
    shared = {name: slots for name, slots in places.items() if len(slots) > 1}
    assert shared and [name for name, slots in shared.items() if not any(note(slot, name) for slot in slots)] == []
