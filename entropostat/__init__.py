"""entropostat: a thermostat for policy entropy in RLHF and RLVR."""

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from entropostat.client.loss import ClientLoss
    from entropostat.rl.objective import Objective
    from entropostat.trainers.grpo import EntropyGRPOTrainer
    from entropostat.trainers.ppo import EntropyPPOTrainer
    from entropostat.trainers.watch.doctor import Doctor

__version__ = "0.1.0"
__all__ = ["ClientLoss", "Doctor", "EntropyGRPOTrainer", "EntropyPPOTrainer", "Objective"]

if not (Path(__file__).parent / "rl" / "__init__.py").is_file():
    raise ImportError(
        "entropostat/rl does not lead to the rl/ folder: this checkout lost its symbolic links. "
        "On Windows use WSL, or clone again with `git config core.symlinks true`."
    )

_HOMES = {
    "ClientLoss": "entropostat.client.loss",
    "Doctor": "entropostat.trainers.watch.doctor",
    "EntropyGRPOTrainer": "entropostat.trainers.grpo",
    "EntropyPPOTrainer": "entropostat.trainers.ppo",
    "Objective": "entropostat.rl.objective",
}
"""Imported when they are first asked for: the command line would wait seconds for torch and TRL."""

if not TYPE_CHECKING:  # a type checker would take any name for one that exists

    def __getattr__(name: str) -> object:
        if name not in _HOMES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = getattr(import_module(_HOMES[name]), name)
        return globals()[name]

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
