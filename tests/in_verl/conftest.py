"""These run in the environment of `make test-verl` alone, where verl is installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore_glob = [] if find_spec("verl") is not None else ["*.py"]
