"""docs/hardware.md, which is made of the records that checklists have left.

    python -m benchmarks.smoke.page [RECORD ...]

Each RECORD, a smoke.json that somebody has sent, is checked and kept under benchmarks/results/hardware; then the page is written.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.experiment import RECORDED, ROOT
from benchmarks.smoke.checklist import CHECKS
from benchmarks.smoke.record import machine, table

RECORDS = RECORDED / "hardware"
PAGE = ROOT / "docs" / "hardware.md"
HEAD = {"made": str, "entropostat": str, "commit": str, "device": str, "system": str, "rows": list}
ROW = {"name": str, "title": str, "status": str, "seen": str, "seconds": (int, float), "numbers": dict, "tail": str}
STATUS = ("pass", "fail", "skipped")

INTRODUCTION = """# Hardware

What has run where. Nothing is on this page that was not seen: its tables are the records of checklists, and `python -m benchmarks.smoke.page`
writes it.

## The checklist

```
git clone ... && cd entropostat && make smoke-gpu        # or, with an installation of your own: python -m benchmarks.smoke
```

It takes a quarter of an hour at most, uses all GPUs that it sees and nothing of the Hub: policies are built on the spot. It prints a table to paste,
and leaves `smoke.json` with all numbers; secrets and the names of host, user and folders are taken out. Each check has a process of its own and a time limit, so that one
that fails stops no other.

| exit code | |
|---|---|
| 0 | no check failed, and at least one on a GPU passed |
| 1 | a check failed |
| 2 | nothing of a GPU was checked: there is none, or every row of it was skipped |

`--only zero3 fsdp2` makes these rows alone, `--patience 2` waits twice as long for each, `--device cpu` runs the same code on processors: small, in
float32, over gloo. vLLM's rows need `pip install 'entropostat[vllm]'`, its server two GPUs; where something is missing, the row is skipped and says what.

To add a row to this page: `python -m benchmarks.smoke.page smoke.json`, and a pull request with what it has written.
"""
CPUS = """## CPUs

All numbers of this project come from CPUs, and so does every test of `make test`: two cores, one process, or two over gloo with DDP and ZeRO-1 to 3;
Triton's kernels under its interpreter. What each part rests on: [the table of tests](cluster.md#what-is-tested-where).
"""


class BadRecord(ValueError):
    """No record of a checklist: what is wrong, in a line."""


def checked(made: Any) -> dict[str, Any]:
    """The record. Raises BadRecord: it comes from strangers."""
    if not isinstance(made, dict):
        raise BadRecord("no JSON object")
    typed("the record", made, HEAD)
    known = {check.name for check in CHECKS}
    for row in made["rows"]:
        typed("a row", row, ROW)
        if row["name"] not in known or row["status"] not in STATUS:
            raise BadRecord(
                f"a row has the name {row['name']!r} and the status {row['status']!r}; the checklist has no such row"
            )
    if not re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC", made["made"]):
        raise BadRecord(f"made: {made['made']!r} is no time such as 2026-01-31 12:00 UTC")
    return made


def typed(what: str, found: Any, wanted: Mapping[str, Any]) -> None:
    for key, kind in wanted.items():
        if not isinstance(found, dict) or not isinstance(found.get(key), kind):
            raise BadRecord(f"{what} lacks {key}, or it is of another kind")


def name(made: dict[str, Any]) -> str:
    """Of its file: when, and on what."""
    return re.sub(r"[^a-z0-9]+", "-", f"{made['made']} {machine(made)}".lower()).strip("-")[:100] + ".json"


def page(records: Iterable[dict[str, Any]]) -> str:
    """Newest first."""
    newest = sorted(records, key=lambda made: made["made"], reverse=True)
    gpus, cpus = ([made for made in newest if made["device"] == device] for device in ("cuda", "cpu"))
    parts = [INTRODUCTION, "## GPUs\n"]
    parts += [section(made) for made in gpus] or ["No record yet: nothing of this project has run on a GPU.\n"]
    return "\n".join([*parts, CPUS, *map(section, cpus)])


def section(made: dict[str, Any]) -> str:
    return f"### {machine(made)}, {made['made'][:10]}\n\n{table(made, tails=False)}".replace("<", "&lt;")


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.smoke.page", description="Write docs/hardware.md.")
    parser.add_argument("records", nargs="*", type=Path, metavar="RECORD", help="a smoke.json to add")
    parser.add_argument("--folder", type=Path, default=RECORDS, help=argparse.SUPPRESS)
    parser.add_argument("--page", type=Path, default=PAGE, help=argparse.SUPPRESS)
    options = parser.parse_args(words)
    try:
        new = [checked(json.loads(file.read_text())) for file in options.records]
    except (OSError, ValueError) as why:
        print(f"{', '.join(map(str, options.records))}: {why}", file=sys.stderr)
        return 2
    options.folder.mkdir(parents=True, exist_ok=True)
    for made in new:
        (options.folder / name(made)).write_text(json.dumps(made, indent=1) + "\n")
    options.page.write_text(page(recorded(options.folder)))
    return 0


def recorded(folder: Path = RECORDS) -> list[dict[str, Any]]:
    return [checked(json.loads(file.read_text())) for file in sorted(folder.glob("*.json"))]


if __name__ == "__main__":
    sys.exit(main())
