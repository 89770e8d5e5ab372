"""The benchmark of a pretrained language model: its rows are the recipes', its page and picture what its runs say."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from benchmarks import pretrained
from entropostat.recipe import load
from entropostat.recipe.arithmetic import total_steps

RECIPES = Path(__file__).parents[2] / "recipes"


def metrics() -> list[dict[str, Any]]:
    """Four steps, two a generation, and looks at two sources before and after."""
    look = lambda step, right: (
        {"step": step}
        | {
            f"evaluate/{source}/{key}": right + (0.2 if source == "b" else 0.0)
            for source in ("a", "b")
            for key in (*pretrained.LOOKED, "entropy")
        }
    )
    step = lambda nth: {"step": nth, "loss": 0.1, "entropy": 1.0 / nth}
    new = lambda rate: {"reward": rate, "learning/pass@1": rate, "learning/pass@k": 2 * rate}
    steps = [step(1) | new(0.25), step(2), step(3) | new(0.5), step(4)]
    return [look(0, 0.1), *steps, look(4, 0.3), {"step": 4, "train_loss": 0.1}]


def test_a_run_is_kept_by_its_looks_its_generations_and_its_last_tenth():
    kept = pretrained.kept(metrics())
    assert {step: look["pass@1"] for step, look in kept["looks"].items()} == pytest.approx({"0": 0.2, "4": 0.4})
    assert kept["curves"] == {"steps": [1, 3], "entropy": [1.0, 0.3333], "pass@1": [0.25, 0.5], "pass@8": [0.5, 1.0]}
    assert kept["entropy"] == 0.25


@pytest.mark.parametrize("policy", pretrained.POLICIES)
@pytest.mark.parametrize("row", pretrained.ROWS)
def test_every_row_is_a_recipe_and_differs_from_plain_grpo_in_what_it_says_alone(policy: str, row: str):
    plain, made = (
        load(str(pretrained.POLICIES[policy]), pretrained.overrides(policy, one, 3, short=False))
        for one in ("plain GRPO", row)
    )
    terms, rate = pretrained.ROWS[row]
    assert made.seed == 3 and made.trainer["learning_rate"] == plain.trainer["learning_rate"] * rate
    assert made.objective != plain.objective or not terms
    assert replace(made, objective=plain.objective, trainer=plain.trainer) == plain
    assert made.evaluate.every == 80


@pytest.mark.parametrize("policy", pretrained.POLICIES)
def test_a_short_run_has_looks_before_and_after(policy: str):
    short = load(str(pretrained.POLICIES[policy]), pretrained.overrides(policy, "KL-Cov", 0, short=True))
    assert total_steps(short) == 8


@pytest.mark.parametrize(
    ("row", "recipe"),
    [
        ("the default", "base/recommended.yaml"),
        ("KL-Cov", "methods/kl_cov.yaml"),
        ("PID-gated KL", "quickstart/pid-kl.yaml"),
    ],
)
def test_a_row_has_the_terms_of_the_recipe_that_users_start_from(row: str, recipe: str):
    objective = yaml.safe_load((RECIPES / recipe).read_text())["objective"]
    assert {key: objective[key] for key in pretrained.ROWS[row][0]} == pretrained.ROWS[row][0]


def test_the_default_s_share_of_the_rate_is_its_recipe_s():
    ours, base = (yaml.safe_load((RECIPES / "base" / name).read_text()) for name in ("recommended.yaml", "grpo.yaml"))
    share = float(ours["trainer"]["learning_rate"]) / float(base["trainer"]["learning_rate"])
    assert {row for row, (_, rate) in pretrained.ROWS.items() if rate == share} == {
        "the default",
        "anchor, half the rate",
    }


def test_what_is_cut_short_is_short_of_seeds_and_not_of_rows():
    names = list(pretrained.jobs(short=True))
    assert [name.rpartition("|")[2] for name in names] == ["0"] * (len(names) // 2) + ["1"] * (len(names) // 2)


def test_a_point_is_the_mean_of_the_generations_up_to_it():
    assert pretrained.smoothed([1.0, 3.0, 5.0, 7.0], span=2) == [1.0, 2.0, 4.0, 6.0]


def test_a_run_that_failed_is_counted_and_in_no_mean(tmp_path: Path):
    kept = pretrained.kept(metrics())
    known = {"0.1M|plain GRPO|0": kept, "0.1M|plain GRPO|1": {"failed": "why"}}
    small = pretrained.page(known).partition("## 0.1M")[2]
    assert "Runs that failed: 1." in small and "| plain GRPO | 0.20 | 0.40 | 0.20 | 0.40 | 0.4 | 0.250 |" in small
    pretrained.draw(known, tmp_path / "drawn.png")
    assert (tmp_path / "drawn.png").stat().st_size > 10_000


def test_the_committed_page_is_what_the_results_say():
    known = json.loads(pretrained.RESULTS.read_text())
    assert pretrained.page(known) == pretrained.RESULTS.with_suffix(".md").read_text()
