"""Every recipe of a method has the published constants, or says in its head what it has instead and why."""

from __future__ import annotations

import fnmatch
import re

import pytest
import yaml
from support.paper_constants import WITHOUT, table

from entropostat import catalog
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.facts import option
from entropostat.recipe.terms import Term

FOLDER = RECIPES / "methods"
NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))
TABLE = table()
DIFFERS = re.compile(r"# - (?P<keys>\S+(?:, \S+)*): (?P<here>.+) here, (?P<there>.+) there; \S.*")


def owner_and_value(recipe, key):
    """The term that an option belongs to as (slot, kind), None for a block of the recipe; and what is resolved there."""
    name, *path = key.split(".")
    if name == "optimizer":
        return None, getattr(getattr(recipe.optimizer, path[0]), path[1])
    ((slot, term),) = [(s, t) for s, t in recipe.terms if t.kind == name or (name == "loss" and s == "loss")]
    owner, value = (slot, term.kind), option(term, slot, path.pop(0))
    while path:
        step = path.pop(0)
        if step in catalog.load().terms["controllers"]:
            owner = ("controllers", step)
            value = option(Term("", step, value[step] or {}), "controllers", path.pop(0))
        else:
            value = value[int(step)]
    return owner, value


def head(name):
    lines = (FOLDER / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    return [line for line in lines[1:] if line.startswith("#")]


def stated(name):
    """Key -> (what the head says stands in the recipe, what it says is published); ``*`` is any part of a key."""
    found = {}
    comments = head(name)
    for line in comments[comments.index("# Differs:") + 1 :] if "# Differs:" in comments else []:
        match = DIFFERS.fullmatch(line)
        assert match, f"{name}: '# - KEY: VALUE here, VALUE there; why' is expected, not {line!r}"
        for pattern in match["keys"].split(", "):
            keys = fnmatch.filter(cited(name), pattern)
            assert keys, f"{name}: nothing is cited of {pattern}"
            found |= {key: (yaml.safe_load(match["here"]), yaml.safe_load(match["there"])) for key in keys}
    return found


def cited(name):
    return {key: value for source in TABLE.get(name, ()) for key, value in source.values.items()}


@pytest.mark.parametrize("name", NAMES)
def test_a_method_has_its_published_constants_or_says_what_differs(name):
    recipe = load(FOLDER / f"{name}.yaml")
    here = {key: owner_and_value(recipe, key)[1] for key in cited(name)}
    assert stated(name) == {key: (here[key], there) for key, there in cited(name).items() if here[key] != there}


def test_no_method_is_missing_in_the_table_and_none_without_a_reason():
    assert sorted([*TABLE, *WITHOUT]) == NAMES
    assert all(WITHOUT.values())


@pytest.mark.parametrize("name", sorted(TABLE))
def test_every_constant_has_a_source_and_a_paper_that_the_recipe_or_its_terms_name(name):
    recipe = load(FOLDER / f"{name}.yaml")
    terms = catalog.load().terms
    for source in TABLE[name]:
        owners = {owner_and_value(recipe, key)[0] for key in source.values} - {None}
        said = " ".join([*head(name), *(f"{terms[s][k].paper} {terms[s][k].doc}" for s, k in owners)])
        assert source.source and source.values
        assert source.paper in said


def test_no_constant_is_cited_twice():
    for name, sources in TABLE.items():
        keys = [key for source in sources for key in source.values]
        assert len(keys) == len(set(keys)), name


@pytest.mark.parametrize("name", sorted(name for name in TABLE if any(not source.confirmed for source in TABLE[name])))
def test_a_constant_that_is_not_confirmed_is_called_so_by_its_term(name):
    recipe = load(FOLDER / f"{name}.yaml")
    for source in TABLE[name]:
        for key in () if source.confirmed else source.values:
            slot, kind = owner_and_value(recipe, key)[0]
            assert "not confirmed" in " ".join(catalog.load().terms[slot][kind].doc.split()), f"{slot}/{kind}"
