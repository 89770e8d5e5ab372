"""What broke outside of the code: a disk, a file system, a connection, another process. Each in words that name the fix.

Imports no torch. The libraries report one and the same fault in several ways: safetensors by an exception of its own with the
system's error in its text, torch by a check of where its archive ends. So the chain of exceptions is searched for all of them.
"""

from __future__ import annotations

import contextlib
import errno
import os
import pickle
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from entropostat.environment import FAULT_NOTE, TRACEBACK
from entropostat.secrets import redacted

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
CLOSED = {errno.EROFS, errno.EACCES, errno.EPERM}
ARCHIVE = re.compile(r"inline_container|PytorchStreamWriter|iostream error")
"""torch.save, where the disk took less than it wrote."""
CODE = re.compile(r"GLOBAL ([\w.]+)")
"""torch.load, of what it would have had to import."""
DATA = "only numbers and text are loaded from one"
RUST = re.compile(r"\(os error (\d+)\)")
"""safetensors by an exception of its own, tokenizers by a plain one."""
PEER = re.compile(r"closed by peer|reset by peer|NCCL (error|communicator)|Socket Timeout|heartbeat", re.IGNORECASE)
NETWORK = ("huggingface_hub", "httpx", "httpx2", "httpcore", "httpcore2", "requests", "urllib3")
"""Packages by which the libraries reach the Hub and others; their exceptions are not all OSErrors."""
LOST = "lost the connection to another process of this run, whose own message says why"


class Fault(Exception):
    """One line, in which libraries may have put what a recipe or the environment holds."""

    def __str__(self) -> str:
        return redacted(super().__str__())


class SetupError(Fault):
    """A run that could not start: what is missing or wrong outside of the recipe, in one line."""


class RunFault(Fault):
    """A run that could not go on, though its recipe is right: what broke, in one line."""


@contextlib.contextmanager
def in_one_line(name: str, folder: Path) -> Iterator[None]:
    """Turn what goes wrong while the run ``name`` is set up into a SetupError. ``ENTROPOSTAT_TRACEBACK=1`` shows where.

    ``folder`` is where it would write.
    """
    try:
        yield
    except Exception as error:
        known = reason(error, folder)
        plain = isinstance(error, (OSError, ValueError, RuntimeError, ImportError, LookupError))
        if os.environ.get(TRACEBACK) or (known is None and not plain):
            raise
        said = str(error.args[0] if isinstance(error, KeyError) and error.args else error)
        text = known or " ".join(said.split())
        raise SetupError(f"{name}: {text} (ENTROPOSTAT_TRACEBACK=1 shows where)") from error


def note_fault(text: str) -> None:
    """Leave ``text`` for the `launch` that started this process, if one did and nothing lies there yet."""
    named = os.environ.get(FAULT_NOTE)
    if named and LOST not in text:
        with contextlib.suppress(OSError), Path(named).open("x") as stream:
            stream.write(text)


def reason(error: BaseException, folder: Path) -> str | None:
    """One line without a full stop, or None for what is no fault of the surroundings. ``folder`` is the run's."""
    chain = list(_chain(error))
    for each in chain:
        number = _number(each)
        if type(each) is RuntimeError and ARCHIVE.search(str(each)):
            number = errno.ENOSPC if os.access(_there(folder), os.W_OK) else errno.EROFS
        file = getattr(each, "filename", None) or folder
        if number in FULL:
            room = f"{_free(folder) >> 20} MB free"
            return f"no space left for {file} ({room}): make room, or lower trainer.save_total_limit"
        if number in CLOSED:
            return f"cannot write {file}: {os.strerror(number)}; make it writable, or choose another output_dir"
    for each in chain:
        if isinstance(each, pickle.UnpicklingError):
            named = CODE.search(str(each))
            return f"a file of the checkpoint {f'asks for {named[1]}' if named else 'cannot be read'}, and {DATA}"
        if type(each).__name__ == "OutOfMemoryError":
            return "out of GPU memory: lower trainer.per_device_train_batch_size and raise trainer.gradient_accumulation_steps"
        if isinstance(each, RuntimeError) and PEER.search(str(each)):
            return LOST
    if isinstance(error, OSError | ImportError):
        return " ".join(str(error).split())
    for each in chain:
        if type(each).__module__.partition(".")[0] in NETWORK:
            return f"a server does not answer, or refuses: {' '.join(str(each).split())}"
    return None


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _number(error: BaseException) -> int | None:
    if isinstance(error, OSError):
        return error.errno
    code = RUST.search(str(error)) if type(error).__name__ in ("SafetensorError", "Exception") else None
    return int(code[1]) if code else None


def _free(folder: Path) -> int:
    """Bytes on the file system of ``folder``."""
    return shutil.disk_usage(_there(folder)).free


def _there(folder: Path) -> Path:
    """``folder``, or the nearest one above it that there is."""
    return next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
