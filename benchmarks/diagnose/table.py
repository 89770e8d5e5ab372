"""benchmarks/results/diagnose/README.md, from the JSON beside it alone."""

from __future__ import annotations

import collections
import json
from pathlib import Path
from typing import Any

Result = dict[str, Any]


def write_page(folder: Path) -> None:
    """The page, from what measure.py and real.py left, as far as it is there."""
    parts = ["# entropostat diagnose: what it finds, what it misses, what it invents", ""]
    for name, section in (("measure.json", synthetic), ("real.json", real)):
        if (folder / name).is_file():
            parts += section(json.loads((folder / name).read_text()))
    (folder / "README.md").write_text("\n".join(parts).rstrip() + "\n")


def synthetic(result: Result) -> list[str]:
    lines = [
        (
            f"Synthetic runs of the verdict ranges, trial {result['trial']}. Bounds are one-sided, 95 %, Clopper-Pearson. Delay: steps "
            "after the declared effect is reached (below 0: before it is complete)."
        ),
        "",
        earlier(result["trial"]),
        "",
        "## Ill runs",
        "",
        "| pathology | found in time | lower bound | missed | late | too early | delay: median | 95 % | other rules too |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind, one in result["ill"].items():
        also = ", ".join(f"{rule} {count}" for rule, count in sorted(one["others"].items())) or "-"
        lines.append(
            f"| {kind} | {one['found']} of {one['runs']} | {one['lower_bound']:.3f} | {one['missed']} | {one['late']} "
            f"| {one['early']} | {one['delay_median']} | {one['delay_95']} | {also} |"
        )
    lines += [
        "",
        "## Healthy runs",
        "",
        "A finding is a warning or worse. A note says what happened and asks for nothing; it is counted apart.",
        "",
        "| steps | runs with a finding | upper bound | which | notes |",
        "|---|---|---|---|---|",
    ]
    for length, one in sorted(result["healthy"].items(), key=lambda item: int(item[0])):
        which, notes = (
            ", ".join(f"{rule} {count}" for rule, count in sorted(one[key].items())) or "-"
            for key in ("rules", "notes")
        )
        lines.append(f"| {length} | {one['alarms']} of {one['runs']} | {one['upper_bound']:.4f} | {which} | {notes} |")
    return [*lines, "", *rivals(result)]


def earlier(trial: int) -> str:
    if not trial:
        return "The first trial: no rule was changed after a look at these ranges."
    return (
        f"{trial} earlier trials were left where a bar was missed or a real run showed a fault, and a rule was changed; each time on "
        "tuning runs or real ones, and this trial drew fresh seeds after the last change. So the ranges were not wholly unseen, only these runs were."
    )


def rivals(result: Result) -> list[str]:
    if not any("doctors" in one for one in result["ill"].values()):
        return []
    names = list(next(iter(result["ill"].values()))["doctors"])
    lines = [
        "## Beside other doctors, on the same runs",
        "",
        (
            "Share of the runs on which the right detector warned, at any step, and (in brackets) any detector. Ours: the right rule "
            "in time, on all runs; theirs on the first 50 of a pathology and the first 200 healthy ones. `-`: it has no such detector. Healthy: any warning."
        ),
        "",
        f"| runs | entropostat | {' | '.join(names)} |",
        "|---|---|" + "---|" * len(names),
    ]
    for kind, one in result["ill"].items():
        lines.append(f"| {kind} | {one['found'] / one['runs']:.3f} | {' | '.join(beside(kind, one['doctors']))} |")
    for length, one in sorted(result["healthy"].items(), key=lambda item: int(item[0])):
        cells = [f"{one['doctors'][n]:.2f}" if "doctors" in one else "not run" for n in names]
        lines.append(f"| healthy, {length} steps | {one['alarms'] / one['runs']:.4f} | {' | '.join(cells)} |")
    return [*lines, ""]


def beside(kind: str, seen: Result) -> list[str]:
    """A cell of each doctor: right detector (any detector)."""
    from benchmarks.diagnose.doctors import right

    return [
        f"{one['right']:.2f} ({one['any']:.2f})" if right(name, kind) else f"- ({one['any']:.2f})"
        for name, one in seen.items()
    ]


def real(result: Result) -> list[str]:
    lines = [
        "## Real runs made ill on purpose",
        "",
        (
            "The quickstart policy, trained with a recipe that must go wrong. Ill by its own check: the run did go wrong, judged by "
            "numbers that no rule reads the same way. Found: of those."
        ),
        "",
        "| pathology | runs | ill by its own check | found | first step: median | other findings |",
        "|---|---|---|---|---|---|",
    ]
    kinds: dict[str, list[Result]] = {}
    for name, one in result.items():
        kinds.setdefault(name.rpartition("/")[0], []).append(one)
    for kind, runs in kinds.items():
        if kind.startswith("healthy/"):
            continue
        fine = [one for one in runs if "failed" not in one]
        sick = [one for one in fine if one["ill"]]
        hits = sorted(one["first"] for one in sick if one["first"] is not None)
        middle = hits[len(hits) // 2] if hits else "-"
        also = counted(fine)
        broken = f" ({len(runs) - len(fine)} failed)" if len(fine) < len(runs) else ""
        lines.append(f"| {kind} | {len(runs)}{broken} | {len(sick)} | {len(hits)} | {middle} | {also} |")
    well = {kind: runs for kind, runs in kinds.items() if kind.startswith("healthy/")}
    if not well:
        return [*lines, ""]
    lines += [
        "",
        "## Real runs that learned",
        "",
        (
            "The same policy, nothing made ill. Learned: held-out pass@1 of the hard prompts rose by more than .4. A run may learn and "
            "be ill of something on the way: a finding here is not always false."
        ),
        "",
        "| recipe | runs | learned | of those with a finding | which |",
        "|---|---|---|---|---|",
    ]
    for kind, runs in well.items():
        learned = [one for one in runs if one.get("ill")]
        alarmed = [one for one in learned if one["others"]]
        lines.append(
            f"| {kind.partition('/')[2]} | {len(runs)} | {len(learned)} | {len(alarmed)} | {counted(learned)} |"
        )
    return [*lines, ""]


def counted(runs: list[Result]) -> str:
    """Which other rules spoke, and in how many runs."""
    others = collections.Counter(rule for one in runs for rule in one["others"])
    return ", ".join(f"{rule} {count}" for rule, count in sorted(others.items())) or "-"
