"""A small JSON file of a run that holds one object."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from entropostat.readers import values
from entropostat.regular import content

LIMIT = 1 << 20


def json_object(file: Path, within: Path) -> dict[str, Any]:
    """Plain values. Raises FileNotFoundError where there is nothing, ValueError in one line for anything else than an object."""
    try:
        value = values.plain(json.loads(content(file, LIMIT, within).decode("utf-8-sig")))
    except RecursionError:
        raise ValueError(f"{file}: nested too deep") from None
    except ValueError as error:
        raise ValueError(str(error) if str(error).startswith(str(file)) else f"{file}: no JSON ({error})") from None
    if not isinstance(value, dict):
        raise ValueError(f"{file}: no JSON object")  # noqa: TRY004  (what a parser says)
    return value
