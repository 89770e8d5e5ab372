"""The committed catalog and schema say what the code says."""

from __future__ import annotations

import json
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Literal

import jsonschema
import pytest
from support.loading import shipped

from entropostat import catalog
from entropostat.cli import pages
from entropostat.cli.schema import FILE
from entropostat.recipe import schema
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.owned import NOT_IN_TRAINER
from entropostat.recipe.source import read
from entropostat.trainers.kinds import CONFIGS

STALE = "is not what the code says: run `entropostat schema --write` and commit"


def test_committed_catalog_is_current():
    assert catalog.FILE.read_text() == catalog.to_json(catalog.build(CONFIGS)), f"catalog.json {STALE}"


def test_committed_schema_is_current():
    assert FILE.read_text() == schema.to_json(), f"recipes/schema.json {STALE}"


def test_catalog_survives_json():
    loaded = catalog.load()
    assert catalog.from_json(catalog.to_json(loaded)) == loaded


def test_every_term_is_described_and_cited():
    for slot, terms in catalog.load().terms.items():
        for name, term in terms.items():
            assert term.summary and term.paper, f"{slot}/{name}"
            assert all(field.doc for field in term.fields), f"{slot}/{name}: a key without doc"


def test_plugins_make_the_catalog_live(monkeypatch):
    point = EntryPoint("x", "json", catalog.PLUGIN_GROUP)
    monkeypatch.setattr(catalog, "entry_points", lambda group: [point] if group == catalog.PLUGIN_GROUP else [])
    committed = catalog.load()
    monkeypatch.setattr(catalog, "terms", lambda: {"weights": {"of a plug-in": "live"}})
    catalog.load.cache_clear()
    try:
        assert catalog.load() == catalog.Catalog({"weights": {"of a plug-in": "live"}}, committed.trainer)
    finally:
        catalog.load.cache_clear()


def test_every_owned_key_is_a_field_of_trl():
    fields = {f.name for f in catalog.load().trainer["grpo"]}
    assert NOT_IN_TRAINER - fields == set()


@pytest.mark.parametrize(
    ("hint", "spelling"),
    [
        (float, "float"),
        (int | None, "int|null"),
        (float | str | None, "float|str|null"),
        (list[list[float]], "list[list[float]]"),
        (tuple[float, float], "list[float]"),
        (dict[str, int] | None, "dict|null"),
        (Literal["a", "b"], "str"),
        (Path, "any"),
    ],
)
def test_types_are_spelled(hint, spelling):
    assert catalog.spell(hint) == spelling


def test_schema_is_valid_draft_2020_12():
    jsonschema.Draft202012Validator.check_schema(schema.schema())


@pytest.fixture(scope="module")
def validator():
    return jsonschema.Draft202012Validator(json.loads(FILE.read_text()))


@pytest.mark.parametrize("path", shipped(), ids=lambda path: str(path.relative_to(RECIPES)))
def test_recipe_files_meet_the_schema(path, validator):
    validator.validate(read(path).plain)


@pytest.mark.parametrize(
    "wrong",
    [
        {"smapler": {}},
        {"objective": {"weights": [{"clip_cov": {"fracton": 0.1}}]}},
        {"objective": {"weights": [{"clip_cov": {"fraction": 0.7}}]}},
        {"objective": {"weights": [{"clip_cov": {}, "high_entropy": {}}]}},
        {"objective": {"penalties": {"edit": {"kl_ref": {"coef": "a"}}}}},
        {"objective": {"penalties": {"kl_ref": {}}}},
        {"objective": {"penalties": [{"kl_ref": {"coef": {"pidd": {}}}}]}},
        {"data": {"sources": {"a": {"chian": {}}}}},
        {"trainer": {"beta": 0.1}},
        {"trainer": {"num_generations": "8"}},
        {"reward": [{"chain": {"weight": True}}]},
    ],
    ids=str,
)
def test_schema_refuses(wrong, validator):
    assert not validator.is_valid(wrong)


@pytest.mark.parametrize(
    "right",
    [
        {"extends": ["a.yaml", "entropostat:base/grpo.yaml"]},
        {"objective": {"penalties": {"edit": {"second": {"coef": 1}}, "+kl_ref": None, "-kl_cov": None}}},
        {"objective": {"penalties": [{"kl_ref": {"coef": {"pid": {"signal": "kl", "target": 1}}}}]}},
        {"objective": {"advantages": [{"grpo": None}]}},
    ],
    ids=str,
)
def test_schema_accepts(right, validator):
    validator.validate(right)


def test_committed_method_pages_are_current(tmp_path):
    written = pages.write(tmp_path)
    committed = Path(__file__).parents[2] / "docs" / "methods"
    assert {file.relative_to(tmp_path) for file in written} == {
        f.relative_to(committed) for f in committed.rglob("*.md")
    }
    for file in written:
        assert (committed / file.relative_to(tmp_path)).read_text() == file.read_text(), "run `make docs`"
