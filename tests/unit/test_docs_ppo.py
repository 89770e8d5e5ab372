"""The page on migrating names every former option, and its recipe loads without a complaint."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints
from entropostat.recipe.owned import FORMER

PAGE = Path(__file__).parents[2] / "docs" / "migrating-from-trl-ppo.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)


def test_every_former_option_has_its_row():
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]] for line in PAGE.read_text().splitlines() if line[:1] == "|"
    ]
    table = {name: row[1] for row in rows for name in re.findall(r"`(\w+)`", row[0])}
    for name, place in FORMER.items():
        assert f"`{place.partition(' (')[0]}`" in table[name], name


def test_the_recipe_of_the_page_is_sound(tmp_path):
    (text,) = blocks("yaml")
    (tmp_path / "my-ppo.yaml").write_text(text)
    recipe = load(tmp_path / "my-ppo.yaml", ())
    assert recipe.kind == "ppo" and recipe.critic.trunk == "separate"
    assert [lint for lint in lints(recipe, arithmetic(recipe)) if lint.level != "note"] == []


def test_the_code_of_the_page_parses():
    (text,) = blocks("python")
    ast.parse(text)
