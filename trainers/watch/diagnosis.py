"""Findings while a run goes on: one line in the terminal, once, and an alert for whoever listens. Never stops a run."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from transformers import TrainerCallback

from entropostat.diagnose.finding import Finding, line
from entropostat.diagnose.live import Live
from entropostat.readers.damage import Damage
from entropostat.readers.rows import metrics
from entropostat.trainers.watch.alerts import Level

log = logging.getLogger(__name__)
Alert = Callable[[str, str, Level], None]
"""(title, text, level)"""


class Diagnosis(TrainerCallback):
    """Reads what is logged, on the main process. ``alert`` is called once a finding, e.g. for wandb.

    ``milliseconds`` sums up what it cost, for ``health/monitor_ms``.
    """

    def __init__(
        self,
        vocabulary: int | None = None,
        terms: Iterable[str] = (),
        alert: Alert | None = None,
        past: Path | None = None,
    ) -> None:
        self.live, self.alert, self.past = Live(vocabulary, terms), alert, past
        self.milliseconds = 0.0
        self.off = False

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """A resumed run knows what it has told: its own metrics.jsonl up to the checkpoint."""
        if not state.is_world_process_zero or self.past is None or not self.past.is_file():
            return
        self.live.log.extend(row for row in metrics(self.past, Damage(self.past)) if row["step"] <= state.global_step)
        self.live.skip()

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        if state.is_world_process_zero and logs:
            begun = time.perf_counter()
            row = {"step": state.global_step, **{k: v for k, v in logs.items() if k != "step"}}
            self._tell_of(lambda: self.live.add(row), state.global_step)
            self.milliseconds += 1e3 * (time.perf_counter() - begun)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self._tell_of(self.live.look, state.global_step)

    def _tell_of(self, look: Callable[[], Iterable[Finding]], step: int) -> None:
        """A doctor's mistake may never cost a run."""
        if self.off:
            return
        try:
            for one in look():
                self.tell(one)
        except Exception:
            log.warning("live findings failed at step %d and are off now", step, exc_info=True)
            self.off = True

    def tell(self, one: Finding) -> None:
        print(line(one), file=sys.stderr, flush=True)
        if self.alert is not None:
            self.alert(
                f"{one.rule} at step {one.steps[0]}", f"{one.evidence}\n{one.cause}\n\n{one.advice}", one.severity
            )
