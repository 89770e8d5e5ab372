"""One check in this process: ``python -m benchmarks.smoke.one NAME DEVICE GPUS SCRATCH OUT`` writes its row, less the seconds."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any, cast

from benchmarks.smoke.anonymous import anonymous
from benchmarks.smoke.checklist import find
from benchmarks.smoke.row import Failed, Place, Row, Skipped


def made(name: str, place: Place) -> Row:
    """An exception that no check means to raise goes on to the caller: its traceback belongs into the log."""
    check = find(name)
    try:
        seen = check.load().check(place)
    except Skipped as why:
        return Row(name, check.title, "skipped", anonymous(str(why)))
    except Failed as why:
        return Row(name, check.title, "fail", anonymous(str(why)), numbers=why.numbers)
    return Row(name, check.title, "pass", anonymous(seen.text), numbers=seen.numbers)


def main(words: list[str]) -> int:
    name, device, gpus, scratch, out = words
    row = made(name, Place(cast(Any, device), int(gpus), Path(scratch)))
    Path(out).write_text(json.dumps(row.data()))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
