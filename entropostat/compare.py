"""`entropostat compare`: finished runs side by side, as a table in the terminal and, on request, as a picture."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Row = dict[str, Any]


@dataclass(frozen=True)
class Run:
    """What a run folder holds."""

    name: str
    rows: list[Row]
    stages: dict[str, int]
    """'0/easy' -> the step at which the stage begins."""

    @classmethod
    def read(cls, folder: Path) -> Run:
        """Raises FileNotFoundError where ``folder`` is no run."""
        file = folder / "metrics.jsonl"
        if not file.is_file():
            raise FileNotFoundError(f"{folder}: no run there (metrics.jsonl is missing)")
        facts = json.loads((folder / "run.json").read_text()) if (folder / "run.json").is_file() else {}
        from entropostat.readers.lines import json_lines

        return cls(folder.absolute().name, json_lines(file), facts.get("stages", {}))

    def series(self, key: str) -> tuple[list[int], list[float]]:
        """(steps, values) of a metric, where it was logged."""
        found = [(row["step"], row[key]) for row in self.rows if isinstance(row.get(key), int | float)]
        return [step for step, _ in found], [value for _, value in found]

    def last(self, key: str) -> float | None:
        """The last value; of a per-step metric the mean of its last tenth, because single steps scatter."""
        _, values = self.series(key)
        if not values:
            return None
        tail = values[-1:] if key.startswith("evaluate/") else values[-max(len(values) // 10, 1) :]
        return float(sum(tail) / len(tail))

    @property
    def knobs(self) -> list[str]:
        """Paths of the controlled fields."""
        found = {key[len("control/") : -len("/output")] for row in self.rows for key in row if _is_output(key)}
        return sorted(found)


def _is_output(key: str) -> bool:
    return key.startswith("control/") and key.endswith("/output")


def run(folders: list[str], png: str | None) -> int:
    """Exit code 0, or 2 where a folder holds no run."""
    try:
        runs = [Run.read(Path(folder)) for folder in folders]
    except FileNotFoundError as error:
        print(f"entropostat compare: {error}", file=sys.stderr)
        return 2
    print(table(runs))
    if png is not None:
        from entropostat.figure import draw

        draw(runs, Path(png))
        print(f"\npicture: {png}")
    return 0


def keys_of(runs: list[Run]) -> list[str]:
    """Metrics of the table: the training state, then the evaluation of each set in the order of logging."""
    seen = {key: None for run in runs for row in run.rows for key in row if isinstance(row[key], int | float)}
    wanted: list[str] = [key for key in ("entropy", "kl", "reward") if key in seen]
    wanted += [f"control/{knob}/output" for run in runs for knob in run.knobs]
    sets = {key.split("/")[1]: None for key in seen if key.startswith("evaluate/")}
    parts = ("pass@", "greedy", "reward/", "entropy", "share/", "accuracy/", "distinct", "mean_length")
    for name in sets:
        prefix = f"evaluate/{name}/"
        wanted += [key for part in parts for key in seen if key.startswith(prefix + part)]
    return list(dict.fromkeys(wanted))


def table(runs: list[Run]) -> str:
    """One line a metric, one column a run; the trend of the entropy below."""
    keys = keys_of(runs)
    width = max([len(_label(key)) for key in keys] + [6])
    columns = [max(len(run.name), 10) for run in runs]
    head = " ".join([f"{'at the end':<{width}}", *(f"{r.name:>{c}}" for r, c in zip(runs, columns, strict=True))])
    lines = ["", head, "-" * len(head)]
    for key in keys:
        cells = []
        for run, column in zip(runs, columns, strict=True):
            value = run.last(key)
            cells.append(f"{'-' if value is None else f'{value:.3f}':>{column}}")
        lines.append(" ".join([f"{_label(key):<{width}}", *cells]))
    from entropostat.sparkline import sparkline

    lines += ["", "entropy over the run (nats, 0 to its maximum)"]
    for run in runs:
        _, values = run.series("entropy")
        lines.append(
            f"  {run.name:<24} {sparkline(values, 48)}  {values[0] if values else 0:.2f} to {run.last('entropy') or 0:.3f}"
        )
    edges = [f"{name.partition('/')[2]} from step {step}" for name, step in runs[0].stages.items()]
    if edges:
        lines.append(f"  stages: {', '.join(edges)}")
    return "\n".join(lines)


def _label(key: str) -> str:
    if key.startswith("evaluate/"):
        return key[len("evaluate/") :]
    return key[len("control/") : -len("/output")] if _is_output(key) else f"training {key}"
