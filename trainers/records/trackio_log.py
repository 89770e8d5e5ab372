"""trackio's callback with the keys in the dashboard's rows: it makes its groups of what stands before the first slash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from transformers.integrations import TrackioCallback

from entropostat.metrics.health import SUMMARY
from entropostat.metrics.table import find_in
from entropostat.metrics.trackers import STEP, in_trackio


class TrackioLog(TrackioCallback):
    """Logs what transformers' own would, under ``1 State/entropy`` and not ``train/entropy``. metrics.jsonl keeps its keys."""

    def __init__(self, kinds: Mapping[str, str]) -> None:
        super().__init__()
        self.kinds = kinds

    def on_log(self, args: Any, state: Any, control: Any, model: Any = None, logs: Any = None, **kwargs: Any) -> None:
        if not self._initialized:
            self.setup(args, state, model)
        if state.is_world_process_zero:
            metrics = {key: find_in(key, self.kinds) for key in logs}
            curves = [key for key, metric in metrics.items() if metric is None or metric.panel != SUMMARY]
            self._trackio.log({in_trackio(key, self.kinds): logs[key] for key in curves} | {STEP: state.global_step})
