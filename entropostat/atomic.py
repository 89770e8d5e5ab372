"""Files and folders that appear under their name only when they are complete and on disk, whatever kills the process.

A folder is written as ``.NAME.partial/NAME``, every file of it synced, and then renamed. A folder that is removed takes the
same way back. So what bears its own name is whole, and what a kill leaves behind can be told by its name: ``sweep`` removes it.
"""

from __future__ import annotations

import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path

from entropostat.own_files import open_own

PARTIAL = ".{}.partial"
NEW = ".{}.{}.new"
LEFT = 3600.0
"""Seconds after which nobody is at work on a file that is new any more."""


def partial(final: Path) -> Path:
    """Where ``final`` is while it is not whole; it lies in there under its own name."""
    return final.parent / PARTIAL.format(final.name)


def sweep(parent: Path) -> None:
    """Remove what a kill has left half written or half removed in ``parent``."""
    for left in parent.glob(PARTIAL.format("*")):
        if left.is_symlink():
            left.unlink()
        shutil.rmtree(left, ignore_errors=True)
    for left in parent.glob(NEW.format("*", "[0-9a-f]" * 16)):
        with suppress(FileNotFoundError):
            if time.time() - left.lstat().st_mtime > LEFT:
                left.unlink()


@contextmanager
def whole_folder(
    final: Path,
    *,
    wait: Callable[[], None] = lambda: None,
    lead: bool = True,
    sync: bool = True,
    seal: Callable[[Path], None] = lambda folder: None,
) -> Iterator[Path]:
    """Inside, write into the folder that is given; at the end it becomes ``final``, and what was there is removed.

    Of several processes that share the folder all call this, ``wait`` waits for all of them, and one ``lead``s: it
    begins, calls ``seal`` when all have written, and renames. Those with ``sync`` sync the files: one for each machine.
    ``seal`` reads what is being synced at the same time.
    An exception inside leaves ``final`` as it was, removes what was written, and goes on.
    """
    staging = partial(final)
    if lead:
        sweep(final.parent)
        staging.mkdir(parents=True)
    wait()
    folder = staging / final.name
    try:
        yield folder
        wait()
        with ThreadPoolExecutor(1) as pool:
            written = sorted(folder.rglob("*")) if sync else []
            syncing = pool.submit(sync_paths, written)
            if lead:
                seal(folder)
            syncing.result()
        if sync:
            sync_paths([*sorted(set(folder.rglob("*")) - set(written)), folder])
        wait()
        if lead:
            _take_place(folder, final)
    except BaseException:
        if lead:
            shutil.rmtree(staging, ignore_errors=True)
        raise
    wait()


def _take_place(folder: Path, final: Path) -> None:
    replaced = folder.parent / "replaced"
    try:
        if final.exists():
            final.rename(replaced)
        folder.rename(final)
    except BaseException:  # a second signal between the two
        if replaced.exists() and not final.exists():
            replaced.rename(final)
        raise
    sync_path(final.parent)
    shutil.rmtree(folder.parent, ignore_errors=True)


def discard(folder: Path) -> None:
    """Remove a folder that nobody may find half removed."""
    gone = partial(folder)
    gone.mkdir(exist_ok=True)
    folder.rename(gone / folder.name)
    shutil.rmtree(gone, ignore_errors=True)


def write_whole(file: Path, text: str) -> None:
    """Replace the content of ``file``: a reader, or a kill, finds the old one or the new one."""
    new = file.with_name(
        NEW.format(file.name, secrets.token_hex(8))
    )  # of this writer alone, and no link that waits for it
    try:
        with os.fdopen(open_own(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "w", encoding="utf-8") as stream:
            stream.write(text)
            stream.flush()
            os.fsync(stream.fileno())
        new.replace(file)
    except BaseException:
        new.unlink(missing_ok=True)
        raise


def sync_paths(paths: Iterable[Path]) -> None:
    """These files and folders onto the disk."""
    for path in paths:
        sync_path(path)


def sync_path(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
