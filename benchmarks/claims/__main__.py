"""The evidence bench: does each method do what its paper claims, on equal terms?

    python -m benchmarks.claims night --jobs 2        everything that is missing, then the pages; goes on where it was stopped
    python -m benchmarks.claims plain|tune|table|screen|choose|confirm|finding [--only 'report|hard|*']       a part of it
    python -m benchmarks.claims plan                  how many cells are left, and how long they take
    python -m benchmarks.claims pages                 the pages alone, from the results
    python -m benchmarks.claims again 'report|hard|plain GRPO|0|302'       one cell from its stored recipe: is it equal?
    python -m benchmarks.claims add my-recipe.yaml    a method more, run beside plain GRPO

Results: benchmarks/results/claims. What they say: docs/evidence.md.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from benchmarks.claims import (
    additions,
    choosing,
    evidence,
    findings,
    picture,
    plans,
    recommend,
    screening,
    spread,
    tables,
)
from benchmarks.claims.again import again
from benchmarks.claims.runner import complete
from benchmarks.claims.store import Store

STAGES = {
    "plain": plans.plain,
    "tune": plans.tuning,
    "table": plans.reported,
    "screen": screening.plan,
    "choose": recommend.choosing,
    "confirm": recommend.confirming,
    "finding": findings.plan,
}
NIGHT = ("plain", "screen", "choose", "confirm", "finding", "table", "tune", "table")
"""In the order of a night, what is short before what is long: methods at their recipe's setting, then at that which tuning chose."""


def main() -> int:
    options = arguments().parse_args()
    store = Store(options.results)
    if options.do == "again":
        return again(store, options.what)
    if options.do == "plan":
        print(plans.estimate(store, {name: stage(store) for name, stage in STAGES.items()}, options.jobs))
        return 0
    wanted = {"night": list(NIGHT), "add": ["table"]}.get(options.do, [options.do])
    only = options.only
    if options.do == "add":
        name = additions.add(Path(options.what), options.claim, options.metric, options.at_least, options.tasks)
        only = f"report|*|{name}|*"
    until = time.time() + 60 * options.minutes
    for stage in wanted:
        if stage in STAGES:
            complete(store, plans.chosen(STAGES[stage](store), only), options.jobs, until)
    pages(store)
    return 0


def pages(store: Store) -> None:
    (store.folder / "plain.md").write_text(spread.page(store))
    (store.folder / "table.md").write_text(tables.page(store))
    evidence.write(store)
    picture.draw(store, store.folder / evidence.PICTURE)
    choosing.PAGE.write_text(choosing.page(store))
    choosing.draw(store)


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("do", choices=[*STAGES, "night", "plan", "pages", "again", "add"])
    parser.add_argument("what", nargs="?", default="", help="a cell's name, or a recipe file")
    parser.add_argument("--jobs", type=int, default=2, help="cells at a time")
    parser.add_argument("--only", default="*", metavar="PATTERN", help="cells whose names match, such as '*|hard|*'")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="no cell begins after so many")
    parser.add_argument("--results", type=Path, default=Store().folder)
    parser.add_argument("--claim", default="", help="add: what the method's paper says of it")
    parser.add_argument("--metric", default="success", help="add: by which the claim is measured")
    parser.add_argument("--at-least", type=float, default=0.0, help="add: the least effect that counts")
    parser.add_argument("--tasks", nargs="+", default=["hard", "puzzle"], help="add: where the claim is judged")
    return parser


if __name__ == "__main__":
    sys.exit(main())
