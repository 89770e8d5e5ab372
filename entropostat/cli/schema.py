"""``entropostat schema``: the JSON Schema of recipes."""

from __future__ import annotations

from entropostat import catalog
from entropostat.recipe.errors import display
from entropostat.recipe.extends import RECIPES

FILE = RECIPES / "schema.json"


def run(write: bool) -> int:
    from entropostat.recipe.schema import to_json

    if not write:
        print(to_json(), end="")
        return 0
    from entropostat.trainers.kinds import CONFIGS

    catalog.FILE.write_text(catalog.to_json(catalog.build(CONFIGS)), encoding="utf-8")
    catalog.load.cache_clear()
    FILE.write_text(to_json(), encoding="utf-8")
    print(f"wrote {display(catalog.FILE)} and {display(FILE)}")
    return 0
