"""``entropostat diagnose``: what is wrong with a run, since when, what did it, and what to change. Imports no torch."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.cli import arguments
from entropostat.diagnose import Finding, Log, examine
from entropostat.diagnose.finding import MARK, line
from entropostat.diagnose.live import Live
from entropostat.readers.damage import Damage
from entropostat.readers.lines import LONGEST, parsed
from entropostat.readers.rows import MetricRows, Row
from entropostat.readers.run_folder import Run
from entropostat.regular import opened
from entropostat.strict_json import dumps
from entropostat.visible import complain

PAUSE = 2.0
"""Seconds between two looks at a file that grows."""


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder")
    arguments.as_json(parser)
    parser.add_argument("--live", choices=("on", "off"), default="off", help="on: follow a run that goes on")


def run(args: argparse.Namespace) -> int:
    return diagnose(args.run, args.json, args.live == "on")


def diagnose(folder: str, as_json: bool, live: bool) -> int:
    """Exit code 0 where nothing is found, 1 where something is, 2 where there is no run."""
    try:
        recorded = Run.read(Path(folder))
    except (OSError, ValueError) as error:
        complain("diagnose", error)
        return 2
    for told in recorded.damage:
        complain("diagnose", told)
    if live:
        return follow(Path(folder), recorded, as_json)
    log = Log.of(recorded)
    findings = examine(log)
    print(dumps(report(recorded.name, log, findings), indent=2) if as_json else text(recorded.name, log, findings))
    return 1 if findings else 0


def report(name: str, log: Log, findings: list[Finding]) -> dict[str, Any]:
    return {"run": name, "rows": log.rows, "last_step": int(log.last), "findings": [one.as_dict() for one in findings]}


def text(name: str, log: Log, findings: list[Finding]) -> str:
    head = f"{name}: {log.rows} rows, to step {int(log.last)}"
    if not findings:
        return f"{head}; nothing found"
    parts = [f"{head}; {len(findings)} finding{'s' if len(findings) > 1 else ''}"]
    for one in findings:
        about = f" ({one.subject})" if one.subject else ""
        parts.append(f"\n{MARK[one.severity]} {one.rule}{about}, steps {one.steps[0]} to {one.steps[1]}")
        parts.append(f"   evidence  {one.evidence}")
        parts.append(f"   cause     {one.cause}")
        lines = one.advice.rstrip().splitlines()
        parts.append("   change    " + ("\n" + " " * 13).join(lines))
    return "\n".join(parts)


def follow(folder: Path, recorded: Run, as_json: bool) -> int:
    """Print each finding as it comes, until the run has its summary. The exit code is that of ``diagnose``."""
    live, any_found = Live(recorded.vocabulary, recorded.terms), False
    for row in growing(folder):
        for one in live.look() if row is None else live.add(row):
            any_found = True
            print(dumps(one.as_dict()) if as_json else line(one), flush=True)
    return 1 if any_found else 0


def growing(folder: Path) -> Iterator[Row | None]:
    """Rows of metrics.jsonl as they are written; None where it is time to look. Ends when the run has ended."""
    file = folder / "metrics.jsonl"
    rows, place = MetricRows(Damage(file)), 0  # what was left out at the start has been told
    with opened(file, folder) as stream:
        rest: list[bytes] = []
        while True:
            ended = (folder / "summary.json").is_file()
            while piece := stream.readline(LONGEST):
                rest.append(piece)
                if piece.endswith(b"\n"):
                    place += 1
                    given, _ = parsed(b"".join(rest))
                    row = None if given is None else rows.row(place, given)
                    rest.clear()
                    if row is not None:
                        yield row
            yield None
            if ended:
                return
            time.sleep(PAUSE)
