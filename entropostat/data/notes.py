"""What was done to rows that their owner may not expect: counted, and said once."""

from __future__ import annotations

import logging
import os
from collections import Counter

log = logging.getLogger(__name__)


class Notes:
    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        """By what was done."""

    def add(self, what: str) -> None:
        self.counts[what] += 1

    def say(self, where: str, rows: int) -> None:
        """One line each, by one process."""
        if os.environ.get("RANK", "0") in ("", "0"):
            for what, count in self.counts.items():
                log.warning("%s: of %d row(s), %d %s", where, rows, count, what)
