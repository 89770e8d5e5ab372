"""Ctrl-C, SIGTERM, or the file of a batch job that is to end: finish the step, save, stop. A second signal stops at once."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from entropostat.environment import STOP_FILE


def stop_file() -> Path | None:
    """The file, if it has appeared. Every rank sees the same one, but not at the same moment: ask on one."""
    named = os.environ.get(STOP_FILE)
    return Path(named) if named and Path(named).exists() else None


@contextlib.contextmanager
def stop_on_signal(trainer: Any) -> Iterator[None]:
    """Inside, the first signal asks the trainer to stop after the current optimizer step; all ranks agree on it there."""
    asked = False

    def handle(number: int, frame: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = trainer.stop_requested = True
        if trainer.accelerator.is_main_process:
            print("\nstopping after this step and saving; once more to stop at once", file=sys.stderr, flush=True)

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
