"""`entropostat compare`: runs and seeds side by side, as a table in the terminal and, on request, as a picture.

Runs that differ in their seed alone share a column: mean, half of its 95 % confidence interval, and p of an exact sign-flip
test of the difference to the first column, paired by seed.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from entropostat.compare.groups import Group, grouped, paired_p
from entropostat.compare.requirement import Requirement
from entropostat.readers import read_all
from entropostat.readers.run_folder import Run, is_output
from entropostat.strict_json import dumps
from entropostat.visible import complain

__all__ = ["run", "table"]


def run(folders: Sequence[str], png: str | None, require: Sequence[str] = (), as_json: bool = False) -> int:
    """Exit code 0; 1 where a requirement does not hold; 2 where a folder holds no run or a requirement says nothing."""
    try:
        wanted = [Requirement.parse(text) for text in require]
        runs = [one for folder in folders for one in read_all(Path(folder))]
        groups = grouped(runs)
        verdicts = [requirement.judge(groups) for requirement in wanted]
    except (OSError, ValueError) as error:
        complain("compare", error)
        return 2
    for told in (line for one in runs for line in one.damage):
        complain("compare", told)
    print(dumps(as_plain(groups), indent=1) if as_json else table(groups))
    if png is not None:
        from entropostat.compare.figure import draw

        try:
            draw(groups, Path(png))
        except (OSError, ValueError) as error:
            complain("compare", f"--png {png}: {error}")
            return 2
        print(f"\npicture: {png}", file=sys.stderr if as_json else sys.stdout)
    for verdict in verdicts:
        print(verdict.text, file=sys.stderr if as_json else sys.stdout)
    return 0 if all(verdict.holds for verdict in verdicts) else 1


def keys_of(groups: Sequence[Run | Group]) -> list[str]:
    """Metrics of the table: the training state, then the evaluation of each set in the order of logging."""
    seen = dict.fromkeys(key for group in groups for key in group.keys)
    wanted: list[str] = [key for key in ("entropy", "kl", "reward") if key in seen]
    wanted += [f"control/{knob}/output" for group in groups for knob in group.knobs]
    sets: dict[str, list[str]] = {}
    for key in seen:
        if key.startswith("evaluate/"):
            sets.setdefault(key.split("/")[1], []).append(key)
    parts = ("pass@", "greedy", "reward/", "entropy", "share/", "accuracy/", "distinct", "mean_length")
    for name, mine in sets.items():
        wanted += [key for part in parts for key in mine if key.startswith(f"evaluate/{name}/{part}")]
    return list(dict.fromkeys(wanted))


def table(given: Sequence[Run | Group]) -> str:
    """One line a metric, one column a recipe, the best of a line marked where the metric has a better side; then the trend
    of the entropy."""
    groups = [one if isinstance(one, Group) else Group(one.name, (one,)) for one in given]
    keys = keys_of(groups)
    cells = {key: _line(groups, key) for key in keys}
    width = max([len(_label(key)) for key in keys] + [10])
    columns = [max([len(g.name), 10, *(len(cells[key][i]) for key in keys)]) for i, g in enumerate(groups)]
    head = " ".join([f"{'at the end':<{width}}", *(f"{g.name:>{c}}" for g, c in zip(groups, columns, strict=True))])
    lines = ["", head, "-" * len(head)]
    for key in keys:
        aligned = [f"{cell:>{column}}" for cell, column in zip(cells[key], columns, strict=True)]
        lines.append(" ".join([f"{_label(key):<{width}}", *aligned]))
    return "\n".join([*lines, *_legend(groups), *_trend(groups)])


def best(groups: Sequence[Group], key: str) -> int | None:
    """Which group ends best, where the schema says what is good and the groups do not all tie."""
    from entropostat.metrics import find

    metric = find(key)
    values = [group.last(key) for group in groups]
    known = [value for value in values if value is not None]
    if metric is None or metric.better not in ("up", "down") or len(set(known)) < 2:
        return None
    return values.index(max(known) if metric.better == "up" else min(known))


def as_plain(groups: Sequence[Group]) -> list[dict[str, Any]]:
    """The table for machines."""
    return [
        {
            "name": group.name,
            "seeds": [one.seed for one in group.runs],
            "metrics": {
                key: {
                    "mean": group.last(key),
                    "half_width": group.half_width(key),
                    "values": list(group.values(key).values()),
                    "p_to_first": None if group is groups[0] else paired_p(groups[0], group, key),
                    "best": best(groups, key) == index,
                }
                for key in keys_of(groups)
                if group.last(key) is not None
            },
        }
        for index, group in enumerate(groups)
    ]


def _line(groups: Sequence[Group], key: str) -> list[str]:
    marked = best(groups, key)
    cells = []
    for index, group in enumerate(groups):
        value, half = group.last(key), group.half_width(key)
        text = "-" if value is None else f"{value:.3f}"
        text += "" if half is None else f" ±{half:.3f}"
        p = None if index == 0 else paired_p(groups[0], group, key)
        text += "" if p is None else f" p {p:.3f}"
        several = any(len(one.runs) > 1 for one in groups)
        cells.append(text + (" *" if index == marked else "  " if several or marked is not None else ""))
    return cells if any(cell.endswith("*") for cell in cells) else [cell.rstrip() for cell in cells]


def _legend(groups: Sequence[Group]) -> list[str]:
    lines = []
    if len(groups) > 1:
        lines.append("* the best of its line")
    if any(len(group.runs) > 1 for group in groups):
        seeds = ", ".join(f"{group.name} {len(group.runs)}" for group in groups)
        lines += ["", f"seeds: {seeds}; mean ± half of its 95 % interval"]
        lines.append(f"p: two-sided, exact sign flips against {groups[0].name}, paired by seed")
    return lines


def _trend(groups: Sequence[Group]) -> list[str]:
    from entropostat.sparkline import sparkline

    lines = ["", "entropy over the run (nats, 0 to its maximum)"]
    for group in groups:
        _, values = group.series("entropy")
        last = group.last("entropy")
        ends = f"{values[0]:.2f} to {last:.3f}" if values and last is not None else "nothing measured"
        lines.append(f"  {group.name:<24} {sparkline(values, 48)}  {ends}")
    edges = [f"{name.partition('/')[2]} from step {step}" for name, step in groups[0].stages.items()]
    if edges:
        lines.append(f"  stages: {', '.join(edges)}")
    return lines


def _label(key: str) -> str:
    if key.startswith("evaluate/"):
        return key[len("evaluate/") :]
    return key[len("control/") : -len("/output")] if is_output(key) else f"training {key}"
