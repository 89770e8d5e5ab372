"""entropostat: a thermostat for policy entropy in RLHF and RLVR."""

from pathlib import Path

__version__ = "0.1.0"

if not (Path(__file__).parent / "rl" / "__init__.py").is_file():
    raise ImportError(
        "entropostat/rl does not lead to the rl/ folder: this checkout lost its symbolic links. "
        "On Windows use WSL, or clone again with `git config core.symlinks true`."
    )
