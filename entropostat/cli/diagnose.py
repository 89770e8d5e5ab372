"""``entropostat diagnose``: what is wrong with a run, since when, what did it, and what to change. Imports no torch."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.diagnose import Finding, Log, examine
from entropostat.diagnose.live import Live
from entropostat.readers.run_folder import Run

PAUSE = 2.0
"""Seconds between two looks at a file that grows."""
MARK = {"critical": "!!", "warning": "! ", "info": "  "}


def run(folder: str, as_json: bool, live: bool) -> int:
    """Exit code 0 where nothing is found, 1 where something is, 2 where there is no run."""
    try:
        found = Run.read(Path(folder))
    except (FileNotFoundError, json.JSONDecodeError, NotADirectoryError) as error:
        print(f"entropostat diagnose: {error}", file=sys.stderr)
        return 2
    if live:
        return follow(Path(folder), as_json)
    log = Log(vocabulary(Path(folder)), terms(Path(folder)))
    log.extend(Log.ordered(found.rows))
    findings = examine(log)
    print(json.dumps(report(found.name, log, findings), indent=2) if as_json else text(found.name, log, findings))
    return 1 if findings else 0


def vocabulary(folder: Path) -> int | None:
    """V of run.json, whose logarithm is the ceiling of the entropy; older runs do not say it."""
    file = folder / "run.json"
    try:
        given = json.loads(file.read_text()).get("vocabulary") if file.is_file() else None
    except (json.JSONDecodeError, AttributeError):
        return None
    return given if isinstance(given, int) and given > 1 else None


def terms(folder: Path) -> list[str]:
    """Names of the objective's terms, by the run's own recipe.yaml."""
    from entropostat.recipe import load
    from entropostat.recipe.errors import RecipeError

    file = folder / "recipe.yaml"
    try:
        return [term.name for _, term in load(file).terms] if file.is_file() else []
    except RecipeError:  # of another version: its log can be read nevertheless
        return []


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


def line(one: Finding) -> str:
    """A finding in one line, for the terminal of a run."""
    about = f" ({one.subject})" if one.subject else ""
    return f"{MARK[one.severity].strip()} step {one.steps[0]}: {one.rule}{about}: {one.evidence}; {one.cause}"


def follow(folder: Path, as_json: bool) -> int:
    """Print each finding as it comes, until the run has its summary. The exit code is that of ``run``."""
    live, any_found = Live(vocabulary(folder), terms(folder)), False
    for row in growing(folder):
        for one in live.look() if row is None else live.add(row):
            any_found = True
            print(json.dumps(one.as_dict()) if as_json else line(one), flush=True)
    return 1 if any_found else 0


def growing(folder: Path) -> Iterator[dict[str, Any] | None]:
    """Rows of metrics.jsonl as they are written; None where it is time to look. Ends when the run has ended."""
    with (folder / "metrics.jsonl").open() as stream:
        rest = ""
        while True:
            ended = (folder / "summary.json").is_file()
            for chunk in stream:
                rest += chunk
                if rest.endswith("}\n"):
                    yield json.loads(rest)
                    rest = ""
            yield None
            if ended:
                return
            time.sleep(PAUSE)
