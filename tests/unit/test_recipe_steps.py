"""The `optimizer` block: what it accepts, what plan says of it, and what a strategy leaves of it."""

from __future__ import annotations

import pytest
from support.linting import linted, recipe

from entropostat.cli.plan import plan, text
from entropostat.recipe import RecipeError
from entropostat.recipe.lints import optimizer

RADIUS, MUON = "optimizer.step_radius={}", "optimizer.muon={}"


def strategy(name: str) -> str:
    return f"launch={{strategy: {name}, num_processes: 2}}"


def test_off_by_default_and_on_with_an_empty_mapping():
    assert recipe().optimizer.muon is None and recipe().optimizer.step_radius is None
    settings = recipe(RADIUS).optimizer.step_radius
    assert (settings.target, settings.statistic, settings.quantile, settings.every) == (1.0, "quantile", 0.99, 1)
    assert recipe(MUON).optimizer.muon.adjust == "match_rms_adamw"


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "optimizer.step_radius.target=0",
            r"optimizer\.step_radius\.target: must be at least 1e-18 and at most 1e\+12, not 0",
        ),
        ("optimizer.step_radius.every=0", r"optimizer\.step_radius\.every: must be at least 1"),
        (
            "optimizer.step_radius.quantile=1.5",
            r"optimizer\.step_radius\.quantile: must be at least 0 and at most 1, not 1\.5",
        ),
        ("optimizer.step_radius.statistic=mean", r"must be one of quantile, max"),
        ("optimizer.muon.momentum=1", r"optimizer\.muon\.momentum: must be at least 0 and below 1, not 1"),
        ("optimizer.muom={}", r"did you mean 'muon'"),
        ("trainer.optim=muon", r"trainer\.optim: .*use optimizer\.muon"),
    ],
)
def test_a_wrong_key_is_named_with_its_place(override, message):
    with pytest.raises(RecipeError, match=message):
        recipe(override)


@pytest.mark.parametrize("name", ["single", "ddp"])
def test_one_process_and_ddp_have_nothing_to_say(name):
    processes = [] if name == "single" else [strategy(name)]
    assert linted(optimizer.RULES, RADIUS, MUON, *processes) == set()


@pytest.mark.parametrize("name", ["zero1", "zero2", "zero3", "zero3-offload"])
def test_under_zero_the_last_step_decides_and_muon_is_deepspeeds(name):
    assert linted(optimizer.RULES, RADIUS, strategy(name)) == {("note", "optimizer.step_radius")}
    clips = ("error", "trainer.max_grad_norm")
    assert linted(optimizer.RULES, MUON, strategy(name)) == {("error", "optimizer.muon.adjust"), clips}
    assert linted(optimizer.RULES, "optimizer.muon.adjust=original", strategy(name)) == {clips}
    assert linted(optimizer.RULES, "optimizer.muon.adjust=original", "trainer.max_grad_norm=0", strategy(name)) == set()


def test_fsdp_has_neither():
    assert linted(optimizer.RULES, RADIUS, MUON, strategy("fsdp2")) == {
        ("error", "optimizer.step_radius"),
        ("error", "optimizer.muon"),
    }


def test_two_optimizers_adapters_and_an_unread_quantile_are_noticed():
    assert linted(optimizer.RULES, MUON, "trainer.optim=adamw_torch") == {("error", "trainer.optim")}
    assert linted(optimizer.RULES, MUON, "model.peft={}") == {("warning", "optimizer.muon")}
    unread = "optimizer.step_radius={statistic: max, quantile: 0.9}"
    assert linted(optimizer.RULES, unread) == {("warning", "optimizer.step_radius.quantile")}


def test_plan_says_what_the_block_does():
    planned = plan(recipe(RADIUS, MUON, "optimizer.step_radius.every=4"))
    assert planned["optimizer"][0].startswith("Muon for the hidden matrices")
    assert "at most 1 pi, measured every 4 steps" in planned["optimizer"][1]
    assert any(line.startswith("optimizer ") for line in text(recipe(RADIUS, MUON), planned))
    assert plan(recipe())["optimizer"] == []
