"""What a checklist leaves behind: a record as JSON, and a table in Markdown to paste."""

from __future__ import annotations

import platform
import subprocess
from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cache
from typing import Any

from benchmarks.experiment import ROOT
from benchmarks.smoke.row import Row
from entropostat import __version__

FAILED, NO_GPU = 1, 2
"""Exit codes: a row failed; nothing of a GPU was checked."""


def record(device: str, rows: Sequence[Row], facts: dict[str, Any]) -> dict[str, Any]:
    """``facts`` are the numbers of the row `versions`, where there is one."""
    return {
        "made": datetime.now(timezone.utc).strftime("%Y-%m-%d %H:%M UTC"),
        "entropostat": __version__,
        "commit": commit(),
        "device": device,
        "system": f"{platform.system()} {platform.machine()}",
        **facts,
        "rows": [row.data() for row in rows],
    }


@cache
def commit() -> str:
    """Of the checkout, with a + where files differ from it; nothing where this is none."""
    said = subprocess.run(
        ["git", "describe", "--always", "--dirty=+", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return said.stdout.strip()


def exit_code(device: str, rows: Sequence[dict[str, Any]]) -> int:
    """0: no row failed, and of those that need the device at least one passed."""
    if any(row["status"] == "fail" for row in rows):
        return FAILED
    passed = any(row["status"] == "pass" and row["name"] != "versions" for row in rows)
    return 0 if passed or device == "cpu" else NO_GPU


def machine(made: dict[str, Any]) -> str:
    """In a few words: GPUs with their memory, or processors."""
    gpus: Counter[str] = Counter(made.get("gpus", ()))
    if gpus:
        driver = f", driver {made['driver']}" if made.get("driver") else ""
        return " + ".join(f"{count} x {name}" for name, count in gpus.items()) + driver
    return f"no GPU, {made['cores']} cores" if "cores" in made else "no GPU"


def software(made: dict[str, Any]) -> str:
    return ", ".join(f"{name} {number}" for name, number in made.get("versions", {}).items())


def table(made: dict[str, Any], tails: bool = True) -> str:
    """Of a record: where, with what, and a line for each row; below them the last words of those that failed (``tails``)."""
    at = f" ({made['commit']})" if made["commit"] else ""
    lines = [
        f"entropostat {made['entropostat']}{at}, {made['made']}, `--device {made['device']}`: {machine(made)}, {made['system']}",
        *([software(made)] if software(made) else []),
        "",
        "| check | result | seen | s |",
        "|---|---|---|---|",
        *(f"| {r['title']} | {mark(r['status'])} | {cell(r['seen'])} | {r['seconds']:.0f} |" for r in made["rows"]),
    ]
    for row in made["rows"] if tails else ():
        if row["tail"]:
            lines += ["", f"{row['title']}:", "```", row["tail"].replace("```", "'''"), "```"]
    return "\n".join(lines) + "\n"


def mark(status: str) -> str:
    return "**FAIL**" if status == "fail" else status


def cell(text: str) -> str:
    """A line that stays inside its cell."""
    return " ".join(text.split()).replace("|", "\\|")
