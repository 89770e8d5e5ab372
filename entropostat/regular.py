"""Files of a run, opened so that nothing in a folder from elsewhere can make a reader wait or lead it to another file."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO


def opened(file: Path, within: Path | None = None) -> BinaryIO:
    """``file`` for reading. With ``within``, a folder, a link may not lead out of it: a report shows what it reads.

    Raises FileNotFoundError where there is nothing, ValueError in one line where it cannot be read or is no file: a folder, a
    pipe that nobody writes to, a device.
    """
    try:
        real = Path(os.path.realpath(file, strict=True))
        if within is not None and not real.is_relative_to(os.path.realpath(within)):
            raise ValueError(f"{file}: a link to {real}, outside of the run's folder, is not followed; name that path")
        # Without O_NONBLOCK the open itself of a pipe waits for a writer.
        descriptor = os.open(real, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: no such file") from None
    except OSError as error:
        raise ValueError(f"{file}: {error.strerror}") from None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise ValueError(f"{file}: no regular file")
    return open(descriptor, "rb")


def content(file: Path, limit: int, within: Path | None = None) -> bytes:
    """All of a file of at most ``limit`` bytes. Raises as ``opened`` does."""
    with opened(file, within) as stream:
        data = stream.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"{file}: larger than {limit} bytes")
    return data
