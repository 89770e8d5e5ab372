"""A command in this process, and what it says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from entropostat.__main__ import main


def said(capsys: pytest.CaptureFixture[str], words: Sequence[str]) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    capsys.readouterr()
    code = main(words)
    printed = capsys.readouterr()
    return code, printed.out, printed.err
