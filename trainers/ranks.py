"""One process acts for all of a job."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list


def on_all_ranks(function: Any, *args: Any) -> Any:
    """Call on the main process and give every rank its result. What it raises there ends the others too."""
    box: list[Any] = [None, None]
    main, failed = PartialState().is_main_process, None
    if main:
        try:
            box[0] = function(*args)
        except Exception as error:  # noqa: BLE001  (raised below, when the others know)
            failed, box[1] = error, str(error)
    if PartialState().num_processes > 1:
        broadcast_object_list(box)
    if failed is not None:
        raise failed
    if box[1] is not None:
        raise RuntimeError(box[1])
    return box[0]
