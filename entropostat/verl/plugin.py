"""What verl loads by its entry point ``verl.plugins`` when it is imported: our trainers' names, once its own are there.

verl says only in its debug log that a plug-in could not be loaded. Nothing is done here that could fail, then: what needs verl waits
until verl imports its trainers. Should ours not load there, a run of another trainer goes on, and one of ours is told why it cannot.
The standard library is enough.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import importlib.util
import logging
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from types import ModuleType
from typing import Any

TRAINERS = "verl.trainer.ppo.v1"
"""verl's package of trainers; its registry is complete when it has been imported."""
PATCHES = "verl.models.transformers.monkey_patch"
"""Where verl changes a class of TRL's that TRL removed in 1.13: building an engine would raise ImportError."""
REMOVED = "AutoModelForCausalLMWithValueHead"
MODES = ("entropostat", "entropostat_colocate_async", "entropostat_separate_async")
"""What ``trainer.v1.trainer_mode`` may then be."""


def register(module: Any) -> None:
    """Our trainers beside verl's; where they cannot be imported, one in their place that says why."""
    try:
        import_module("entropostat.verl.trainer")
    except Exception as error:  # noqa: BLE001  (whatever another release of verl makes of it)
        logging.getLogger(__name__).warning("entropostat's trainers cannot be had in this verl: %s", error)
        _stand_in(module, error)


def _stand_in(module: Any, error: Exception) -> None:
    class Unavailable(module.PPOTrainer):
        def __new__(cls, *args: object, **kwargs: object) -> Any:
            raise RuntimeError(
                f"trainer.v1.trainer_mode={MODES[0]}: entropostat's trainers cannot be had: {error}"
            ) from error

    for name in MODES:
        module.register_trainer(name)(Unavailable)


def without_trl(module: Any) -> None:
    """verl looks for TRL only to change ``REMOVED``; where there is none, there is nothing to change."""
    asked: Callable[[], bool] = module.is_trl_available
    module.is_trl_available = lambda: asked() and _has_value_heads()


def _has_value_heads() -> bool:
    for name in ("trl.experimental.ppo", "trl"):
        try:
            if hasattr(import_module(name), REMOVED):
                return True
        except ImportError:
            continue
    return False


AFTER: dict[str, Callable[[Any], None]] = {TRAINERS: register, PATCHES: without_trl}
"""Module of verl's -> what is done as soon as it has been imported."""


class _Then(importlib.abc.Loader):
    """The module's own loader, and then ours."""

    def __init__(self, loader: importlib.abc.Loader, then: Callable[[Any], None]) -> None:
        self.loader, self.then = loader, then

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self.loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self.loader.exec_module(module)
        self.then(module)


class _Finder(importlib.abc.MetaPathFinder):
    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name not in AFTER:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Then(spec.loader, AFTER[name])
        return spec


def install() -> None:
    """Once, however often it is called. What verl has imported already is done at once."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, then in AFTER.items():
        if (module := sys.modules.get(name)) is not None:
            then(module)


install()
