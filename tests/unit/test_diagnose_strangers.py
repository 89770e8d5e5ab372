"""Logs of other people: sparse, short, rewards on any scale. Verdicts do not hang on how often a row was logged."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.findings import rules, steady

from benchmarks.diagnose.strangers import HEALTHY, ILL, NEVER, made
from benchmarks.diagnose.strangers_measure import judge
from entropostat.diagnose import Log, elsewhere, examine
from entropostat.diagnose.story import first_cause, stories

TRIAL, RUNS = 99, 12
LOGS = Path(__file__).parents[2].parent / "shared" / "data" / "logs"


@pytest.mark.parametrize("kind", [*HEALTHY, *ILL])
def test_the_first_cause_is_right_and_healthy_logs_are_left_alone(kind: str) -> None:
    """The verdict's numbers are in benchmarks/results/diagnose/strangers.md; these few logs must not fall behind them."""
    results = [run[0]["right"] for i in range(RUNS) for run in [judge(kind, "verdict", TRIAL, False, i)]]
    assert sum(results) >= RUNS - 1


@pytest.mark.parametrize(
    "kind", ["explosion", "reward-lost", "collapse", "truncation", "kl-blow-up", "gradient-blow-up"]
)
@pytest.mark.parametrize("by", [2, 5, 10])
def test_a_verdict_does_not_change_when_a_log_is_thinned(kind: str, by: int) -> None:
    """600 steps, ill from the half on: every tenth row still has thirty of each."""
    rows = long_log(kind)
    wanted = rules(SimpleNamespace(rows=rows, vocabulary=50_000))
    assert wanted[kind] == 1
    thin = SimpleNamespace(rows=rows[by - 1 :: by], vocabulary=50_000)
    cause = first_cause(examine(thin))
    assert cause is not None and cause.rule == first_cause(examine(SimpleNamespace(rows=rows, vocabulary=50_000))).rule  # type: ignore[union-attr]


def long_log(kind: str, count: int = 600) -> list[dict[str, float]]:
    rows = steady(
        count, **{"completions/clipped_ratio": 0.05, "completions/mean_length": 100.0, "kl": 0.1, "grad_norm": 1.0}
    )
    sick = {
        "explosion": {"entropy": 6.0, "reward": 0.02},
        "reward-lost": {"reward": 0.02, "completions/mean_length": 3.0},
        "collapse": {"entropy": 0.005},
        "truncation": {"completions/clipped_ratio": 0.99},
        "kl-blow-up": {"kl": 1e14},
        "gradient-blow-up": {"grad_norm": 1e6},
    }[kind]
    for i, row in enumerate(rows):
        row["reward"] += 0.02 * (i % 7 - 3)
        if i >= count // 2:
            row |= sick
            row["reward"] += 0.002 * (i % 3)
    return rows


@pytest.mark.parametrize("low", [-2.0, 0.0, 0.7])
@pytest.mark.parametrize("width", [0.3, 1.0, 40.0])
@pytest.mark.parametrize("kind", ["explosion", "reward-lost", "collapse"])
def test_a_verdict_does_not_hang_on_the_scale_of_the_reward(kind: str, low: float, width: float) -> None:
    rows = long_log(kind)
    for row in rows:
        row["reward"] = low + width * row["reward"]
    if kind == "reward-lost" and low > 0 and max(row["reward"] for row in rows) <= 1:
        pytest.skip("rewards that all lie between 0 and 1 are taken for shares, of which these lose a sixth")
    assert rules(SimpleNamespace(rows=rows, vocabulary=50_000))[kind] == 1


def test_public_logs_get_their_verdict() -> None:
    if not LOGS.is_dir():
        pytest.skip("the logs of public repositories are not part of the project")
    for file in sorted(LOGS.glob("*.json")):
        log = json.loads(file.read_text())
        found = examine(SimpleNamespace(rows=log["log_history"], vocabulary=log["vocabulary"]))
        cause = first_cause(found)
        if log["verdict"] == "healthy":
            assert not {one.rule for one in found} & set(NEVER), file.name
        else:
            assert cause is not None and cause.rule == log["verdict"], (file.name, found)


def test_what_follows_from_one_cause_is_one_story_in_the_order_in_which_it_came() -> None:
    run = next(
        run
        for run in (made("explosion", "tuning", i) for i in range(40))
        if {"truncation", "dead-groups"} <= set(rules(run))
    )
    findings = examine(Log.of(run))
    (story,) = stories(findings)
    assert story.cause.rule == "explosion"
    assert [one.steps for one in story.after] == sorted(one.steps for one in story.after)
    assert {one.rule for one in (story.cause, *story.after)} == {one.rule for one in findings}


def test_every_finding_is_in_exactly_one_story() -> None:
    one = examine(Log.of(made("explosion", "tuning", 1)))[0]
    everything = [
        replace(one, rule=rule, steps=(i, 100))
        for i, rule in enumerate(("dead-groups", "collapse", "inert-term", "reward-lost"))
    ]
    told = [part.rule for story in stories(everything) for part in (story.cause, *story.after)]
    assert sorted(told) == sorted(part.rule for part in everything)


def test_dead_groups_of_a_policy_that_lost_its_skill_are_not_told_to_sample_hotter() -> None:
    rows = long_log("reward-lost")
    for i, row in enumerate(rows):
        row["frac_reward_zero_std"] = 0.99 if i >= 300 else 0.2
    (dead,) = [one for one in examine(SimpleNamespace(rows=rows)) if one.rule == "dead-groups"]
    assert "lost it" in dead.cause and "temperature" not in dead.advice
    never = steady(100, frac_reward_zero_std=1.0, reward=0.0, reward_std=0.1)
    (dead,) = [one for one in examine(SimpleNamespace(rows=never)) if one.rule == "dead-groups"]
    assert "never solved" in dead.cause and "temperature" in dead.advice


def test_a_rise_that_came_back_with_the_reward_is_a_note() -> None:
    rows = [{**row, "step": 5 * row["step"]} for row in steady(60)]
    for row in rows[20:23]:
        row |= {"entropy": 5.0, "reward": 0.05}
    (one,) = examine(SimpleNamespace(rows=rows, vocabulary=1000))
    assert (one.rule, one.severity) == ("entropy-blip", "info")
    for row in rows[23:30]:
        row |= {"entropy": 5.0, "reward": 0.05}
    assert rules(SimpleNamespace(rows=rows, vocabulary=1000))["explosion"] == 1


def test_a_curriculum_that_goes_on_to_harder_prompts_lost_nothing() -> None:
    rows = steady(300, **{"completions/mean_length": 100.0})
    for i, row in enumerate(rows):
        row["reward"] = 0.05 + 0.75 * min(max((108 - i) / 8, 0), 1) + 0.01 * (i % 5)
    assert rules(SimpleNamespace(rows=rows))["reward-lost"] == 1
    assert rules(SimpleNamespace(rows=rows, stages={"0/easy": 0, "1/hard": 101}))["reward-lost"] == 0


def test_a_held_out_set_that_is_as_good_as_it_was_says_that_nothing_was_lost() -> None:
    rows = long_log("reward-lost")
    looks = [{"step": step, "evaluate/held/pass@1": 0.5} for step in range(0, 601, 20)]
    assert rules(SimpleNamespace(rows=sorted(rows + looks, key=lambda row: row["step"])))["reward-lost"] == 0
    for look in looks:
        look["evaluate/held/pass@1"] = 0.5 if look["step"] < 300 else 0.1
    assert rules(SimpleNamespace(rows=sorted(rows + looks, key=lambda row: row["step"])))["reward-lost"] == 1


def test_advice_in_trl_s_words_names_fields_of_its_config() -> None:
    import re

    from trl import GRPOConfig

    for words in elsewhere.WORDS.values():
        for call in re.findall(r"GRPOConfig\((.*?)\)(?:,|;|$)", words["TRL"]):
            for field in re.findall(r"(\w+)=", call):
                assert field in GRPOConfig.__dataclass_fields__, field
    assert elsewhere.advice("explosion", "ms-swift") == elsewhere.advice("explosion", "TRL") != ""
    assert elsewhere.advice("explosion", "") == ""
