"""An end for code of others that may never come to one, such as a generator of puzzles that draws until one fits."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

from entropostat.data.example import DataError

AGAIN = 1.0
"""Seconds until it is told once more, should it have been caught."""


class _Late(BaseException):
    """No Exception: whoever draws until one fits catches those."""


@contextmanager
def deadline(seconds: float, said: str) -> Iterator[None]:
    """Raises DataError with ``said`` where the block takes longer. Other threads than the main one are not interrupted."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def late(number: int, frame: FrameType | None) -> None:
        raise _Late

    begun, before = time.monotonic(), signal.signal(signal.SIGALRM, late)
    left, again = signal.setitimer(signal.ITIMER_REAL, seconds, AGAIN)
    try:
        yield
    except _Late:
        raise DataError(said) from None
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # someone else's, such as that of a test
            signal.setitimer(signal.ITIMER_REAL, max(left - (time.monotonic() - begun), 1e-3), again)
