"""One process acts for all of a job, or for all of its machine."""

from __future__ import annotations

from typing import Any

from accelerate import PartialState
from accelerate.utils import broadcast_object_list, gather_object


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


def on_each_machine(function: Any, *args: Any) -> list[Any]:
    """Call on the first process of every machine, and give every rank what its own machine's gave, then those of the others. What
    is raised on one ends all.
    """
    state = PartialState()
    box: list[Any] = [None, None]
    failed = None
    if state.local_process_index == 0:
        try:
            box[0] = function(*args)
        except Exception as error:  # noqa: BLE001  (raised below, when the others know)
            failed, box[1] = error, str(error)
    boxes = gather_object([box]) if state.num_processes > 1 else [box]
    if failed is not None:
        raise failed
    for _, message in boxes:
        if message is not None:
            raise RuntimeError(message)
    first = state.process_index - state.local_process_index  # the ranks of a machine follow each other
    return [boxes[first][0], *(given for rank, (given, _) in enumerate(boxes) if rank != first and given is not None)]
