"""benchmarks/results/diagnose/strangers.md, from the JSON beside it alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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
    return lines
