"""Environment variables by which the processes of a run talk to each other."""

from __future__ import annotations

EXPECTED = "ENTROPOSTAT_EXPECT_WORLD"
"""Processes that a worker of `launch` must find. Without it a launcher that silently starts one process goes unnoticed."""

FAULT_NOTE = "ENTROPOSTAT_FAULT_NOTE"
"""The file into which a process of `launch` writes why it ends, for its parent to say last."""

FOLDER_NOTE = "ENTROPOSTAT_FOLDER_NOTE"
"""The file into which a run of several side by side writes where its folder is."""

STOP_FILE = "ENTROPOSTAT_STOP_FILE"
"""Set by the batch script (slurm/render.py): once the file appears, the job ends soon and is to be started again."""

TRACEBACK = "ENTROPOSTAT_TRACEBACK"
"""Set: what breaks around a run shows its traceback instead of one line."""
