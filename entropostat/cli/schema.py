"""``entropostat schema``: print the JSON Schema of recipes."""

from __future__ import annotations

import argparse

from entropostat import catalog
from entropostat.recipe.errors import display
from entropostat.recipe.extends import RECIPES

FILE = RECIPES / "schema.json"


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--write", action="store_true", help="write schema and catalog into the package")


def run(args: argparse.Namespace) -> int:
    from entropostat.recipe.schema import to_json

    if not args.write:
        print(to_json(), end="")
        return 0
    from entropostat.trainers.kinds import CONFIGS

    catalog.FILE.write_text(catalog.to_json(catalog.build(CONFIGS)), encoding="utf-8")
    catalog.load.cache_clear()
    FILE.write_text(to_json(), encoding="utf-8")
    print(f"wrote {display(catalog.FILE)} and {display(FILE)}")
    return 0
