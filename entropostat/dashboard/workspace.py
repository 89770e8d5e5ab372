"""The wandb workspace of a recipe or a project: sections are the schema's rows, charts its panels.

Needs the extra ``dashboard``, wandb-workspaces. Its model is made and written without a network; only ``save`` goes online.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

from entropostat.dashboard.chosen import Chosen
from entropostat.metrics.panels import Panel, panels
from entropostat.metrics.schema import ROWS, Row
from entropostat.metrics.trackers import STEP, in_wandb

NAME = "entropostat"
VIEW = "nw-entropostat-v"
"""wandb's own name of the view: the same each time, so that a second call updates the first one's."""
OPEN: frozenset[Row] = frozenset({"state", "control", "forces", "learning"})
HISTOGRAM, COMPLETIONS = "train/entropy/histogram", "train/completions"
"""What the training logs besides numbers."""
MISSING = "wandb-workspaces is not installed; use: pip install 'entropostat[dashboard]'"


def build(chosen: Chosen, entity: str, project: str) -> Any:
    """A ``wandb_workspaces.workspaces.Workspace``. Raises ImportError, in one line, without the package."""
    try:
        wr: Any = import_module("wandb_workspaces.reports.v2")
        ws: Any = import_module("wandb_workspaces.workspaces")
    except ImportError as error:
        raise ImportError(MISSING) from error

    media: dict[Row, list[Any]] = {
        "state": [wr.MediaBrowser(title="Entropies of the tokens", media_keys=[HISTOGRAM])],
        "text": [wr.WeavePanelSummaryTable(table_name=COMPLETIONS)],
    }
    sections = []
    for row, heading in ROWS.items():
        charts = [_chart(panel, chosen.overlaid(panel)) for panel in panels(chosen.metrics) if panel.row == row]
        drawn = [wr.LinePlot(**chart) for chart in charts] + media.get(row, [])
        sections.append(ws.Section(name=heading, panels=drawn, is_open=row in OPEN))
    settings = ws.WorkspaceSettings(x_axis=STEP, smoothing_type="none")
    return ws.Workspace(entity=entity, project=project, name=NAME, sections=sections, settings=settings)


def _chart(panel: Panel, overlaid: Iterable[str]) -> dict[str, Any]:
    """Arguments of a line plot. One regex stands for all where the name of a metric has an open place."""
    keys = [*(metric.key for metric in panel.metrics), *overlaid]
    chart: dict[str, Any] = {"title": panel.title, "x": STEP}
    chart |= {"title_y": panel.unit} if panel.unit != "1" else {}
    if any("<" in key for key in keys):
        return {**chart, "metric_regex": regex(keys)}
    return {**chart, "y": [in_wandb(key) for key in keys]}


def regex(keys: Iterable[str]) -> str:
    """Matches the names in wandb of exactly these keys, whatever stands for their open places."""
    return f"^({'|'.join(_open(in_wandb(key)) for key in keys)})$"


def _open(name: str) -> str:
    parts = re.split(r"(<[^>]+>)", name)
    return "".join(".+" if part.startswith("<") else re.escape(part) for part in parts)


def write(workspace: Any, file: Path) -> None:
    """The view as wandb's own model has it, as JSON."""
    view = json.loads(workspace._to_model().model_dump_json(by_alias=True, exclude_none=True))
    file.write_text(json.dumps({**view, "name": VIEW}, indent=1) + "\n", encoding="utf-8")


def default_entity() -> str:
    """Whose the key is. Raises ConnectionError without a key or a network."""
    import wandb

    with _in_one_line():
        return str(wandb.Api().default_entity or "")


def save(workspace: Any) -> str:
    """Create the view online, or update the one of an earlier call, and give its address. Raises ConnectionError."""
    internal: Any = import_module("wandb_workspaces.workspaces.internal")
    with _in_one_line():
        workspace._internal_name = VIEW
        try:
            workspace._internal_id = internal.View.from_name(workspace.entity, workspace.project, VIEW).id
        except ValueError as error:
            if "Project" in str(error):
                raise
            workspace._internal_id = ""  # none there yet
        return str(workspace.save().url)


@contextmanager
def _in_one_line() -> Iterator[None]:
    """wandb's client fails in many ways, and says each over several lines."""
    import wandb

    try:
        yield
    except (wandb.errors.Error, ValueError, OSError) as error:
        lines = str(error).splitlines() or [type(error).__name__]
        raise ConnectionError(f"{lines[0]} (--offline FILE needs no account)") from error
