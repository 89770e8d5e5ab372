"""The pages for those who come from elsewhere: their recipes are sound, and every key that they name can be written."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from entropostat import catalog
from entropostat.recipe import load
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.lints import lints
from entropostat.recipe.schema import to_json
from entropostat.recipe.verl_keys import markdown

DOCS = Path(__file__).parents[2] / "docs"
PAGES = ("coming-from-verl.md", "coming-from-open-r1.md")
ROW = {"prompt": [{"role": "user", "content": "1 + 1?"}], "reward_model": {"ground_truth": "2"}}
BLOCKS = ("trainer", "model", "data", "sampler", "evaluate", "launch", "slurm", "tracking", "critic", "objective")


def recipes(page: str) -> dict[str, str]:
    """File -> the text of every whole recipe, under the name that others extend."""
    texts = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    named = {re.search(r"^name: (\S+)", text, re.MULTILINE): text for text in texts}
    return {f"{match[1]}.yaml": text for match, text in named.items() if match}


@pytest.mark.parametrize("page", PAGES)
def test_the_recipes_of_the_page_are_sound(page: str, tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.Table.from_pylist([ROW] * 8), tmp_path / "train.parquet")
    found = recipes(page)
    assert found
    for file, text in found.items():
        (tmp_path / file).write_text(text)
    for file in found:
        recipe = load(tmp_path / file, ())
        assert [lint for lint in lints(recipe, arithmetic(recipe)) if lint.level != "note"] == [], file


@pytest.mark.parametrize("page", PAGES)
def test_every_key_that_the_page_names_as_ours_is_one(page: str) -> None:
    rows = [line.split("|")[2] for line in (DOCS / page).read_text().splitlines() if line.startswith("| `")]
    named = {key for cell in rows for key in re.findall(r"`((?:" + "|".join(BLOCKS) + r")(?:\.\w+)+)`", cell)}
    assert len(named) > 20
    for path in sorted(named):
        head, *rest = path.split(".")
        assert (term_known if head == "objective" else key_known)(head, rest), path


def test_the_table_of_verls_keys_is_the_one_that_is_read() -> None:
    lines = (DOCS / "coming-from-verl.md").read_text().splitlines()
    rows = markdown()
    first = lines.index(rows[0])
    assert lines[first : first + len(rows)] == rows and lines[first + len(rows)] == ""


def term_known(_: str, rest: list[str]) -> bool:
    slot, *words = rest
    terms = catalog.load().terms[slot]
    return not words or (
        words[0] in terms and (not words[1:] or words[1] in {field.name for field in terms[words[0]].fields})
    )


def key_known(head: str, rest: list[str]) -> bool:
    """As far as it can be told without the user's own names."""
    schema = json.loads(to_json())
    place = resolved(schema, schema["properties"][head])
    for key in rest:
        if key not in place.get("properties", {}):
            return not place.get("properties")
        place = resolved(schema, place["properties"][key])
    return True


def resolved(schema: dict[str, Any], place: dict[str, Any]) -> dict[str, Any]:
    for option in (place, *place.get("anyOf", ()), *place.get("oneOf", ()), *place.get("allOf", ())):
        if "$ref" in option:
            return dict(schema["$defs"][option["$ref"].rpartition("/")[2]])
    return place
