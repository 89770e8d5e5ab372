"""benchmarks/results/diagnose/strangers.md, from the JSON beside it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.diagnose.table import beside

Result = dict[str, Any]


def write_page(file: Path) -> None:
    file.with_suffix(".md").write_text("\n".join(page(json.loads(file.read_text()))).rstrip() + "\n")


def page(result: Result) -> list[str]:
    lines = [
        "# entropostat diagnose on logs as other people publish them",
        "",
        f"Generated logs (`benchmarks/diagnose/strangers.py`), verdict ranges, trial {result['trial']}: a row every 1 to 10 steps, 40 to 300 rows,",
        "rewards on any scale, no held-out sets. Thinned: every n-th row of the same log, where 30 rows are left. Bounds: one-sided, 95 %,",
        "Clopper-Pearson.",
    ]
    heads = {"ill": "first cause right", "healthy": "no false collapse, explosion or lost reward"}
    for part, title in heads.items():
        kinds = result[part]
        by = sorted({n for one in kinds.values() for n in one}, key=int)
        lines += ["", f"## {part.capitalize()} runs: {title}", ""]
        lines += [
            f"| kind | {' | '.join('all rows' if n == '1' else f'1 row in {n}' for n in by)} | lower bound, all rows | wrong: what was said |"
        ]
        lines += ["|---|" + "---|" * (len(by) + 2)]
        for kind, one in kinds.items():
            cells = [f"{one[n]['right']} of {one[n]['runs']}" if n in one else "-" for n in by]
            wrong = "; ".join(f"{said} {count}" for said, count in one["1"]["wrong"].items()) or "-"
            lines.append(f"| {kind} | {' | '.join(cells)} | {one['1']['lower_bound']:.3f} | {wrong} |")
    return [*lines, *rivals(result)]


def rivals(result: Result) -> list[str]:
    """Empty where no doctor was asked."""
    ill = {kind: one["1"] for kind, one in result["ill"].items()}
    if not any("doctors" in one for one in ill.values()):
        return []
    names = list(next(iter(ill.values()))["doctors"])
    lines = [
        "",
        "## Beside other doctors, on the same logs",
        "",
        "Unthinned. Share of the logs on which the right detector warned, at any step, and (in brackets) any detector; `-`: it has none for this.",
        f"Ours: the first cause is right, on all logs; theirs on the first {next(iter(ill.values()))['asked']} of a kind. Healthy: ours a collapse, an explosion or a lost reward, and any",
        "finding in brackets; theirs any warning.",
        "",
        f"| logs | entropostat | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for kind, one in ill.items():
        lines.append(f"| {kind} | {one['right'] / one['runs']:.3f} | {' | '.join(beside(kind, one['doctors']))} |")
    for kind, whole in result["healthy"].items():
        one = whole["1"]
        cells = [f"{one['doctors'][name]['any']:.2f}" for name in names]
        lines.append(
            f"| healthy, {kind} | {1 - one['right'] / one['runs']:.4f} ({one['any'] / one['runs']:.2f}) | {' | '.join(cells)} |"
        )
    return lines
