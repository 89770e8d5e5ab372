"""Every recipe of the project loads and plans without an error."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.loading import shipped

from entropostat import catalog
from entropostat.cli.plan import plan
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.machine_blocks import STRATEGIES
from entropostat.recipe.source import read

COMPLETED = ["model.path=gpt2", "data.sources.a={chain: {}}", "reward=[chain: {}]"]
"""What the general bases leave to their children."""


def overrides(path: Path) -> list[str]:
    complete = "model" in read(path).plain or path.parent.name != "base"
    return [] if complete else COMPLETED


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(RECIPES)))
def test_recipe_loads_plans_and_survives_its_dump(path, tmp_path):
    recipe = load(path, overrides(path))
    planned = plan(recipe)
    assert [lint for lint in planned["lints"] if lint["level"] != "note"] == []
    assert planned["batch"]["prompts_per_generation"] >= 1
    (tmp_path / "resolved.yaml").write_text(recipe.dump())
    assert load(tmp_path / "resolved.yaml") == recipe


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(RECIPES)))
def test_recipe_names_the_schema_for_editors(path):
    depth = len(path.relative_to(RECIPES).parts) - 1
    assert path.read_text().startswith(f"# yaml-language-server: $schema={'../' * depth}schema.json\n")


def test_there_are_recipes():
    assert len(shipped()) > 15


@pytest.mark.parametrize(
    ("slot", "name"),
    [(s, n) for s, ts in catalog.load().terms.items() if s not in ("sources", "verifiers") for n in ts],
)
def test_every_method_has_a_recipe_that_uses_it(slot, name):
    file = RECIPES / "methods" / f"{name}.yaml"
    assert file.is_file(), f"{slot}/{name}: write {file.relative_to(RECIPES.parent)}, a recipe that uses it"
    recipe = load(file)
    used = {term.kind for _, term in recipe.terms}
    used |= {kind for _, term in recipe.terms for v in term.options.values() if isinstance(v, dict) for kind in v}
    assert name in used


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_every_strategy_has_an_accelerate_file(strategy):
    config = read(RECIPES / "accelerate" / f"{strategy}.yaml").plain
    assert config["compute_environment"] == "LOCAL_MACHINE"
    stage = strategy.removeprefix("zero")[:1] if strategy.startswith("zero") else None
    assert (config.get("deepspeed_config") or {}).get("zero_stage") == (int(stage) if stage else None)


def test_paper_recipe_has_the_papers_batch():
    batch = plan(load(RECIPES / "models" / "qwen2.5-7b-kl-cov.yaml"))["batch"]
    assert (batch["prompts_per_generation"], batch["completions_per_prompt"]) == (256, 8)
    assert (batch["sequences_per_step"], batch["updates_per_generation"]) == (256, 8)
