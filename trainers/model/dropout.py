"""Dropout off, of every kind: the distribution that is trained must be the one that sampled.

With dropout each forward is one of another network: old log-probs, those of the reference, values and the trained log-probs
would differ although the weights do not. Evaluation mode is no way out, because gradient checkpointing and TRL ask
for training mode. So the rates themselves are set to 0, wherever a model keeps them: in dropout modules, in attributes
that its functional calls read, and in the configuration that some families read at each call.

The configuration itself keeps the rates of whoever made the model, and so do the adapter's: they are what is saved.
"""

from __future__ import annotations

import re
from typing import Any

from torch import nn
from torch.nn.modules.dropout import _DropoutNd
from transformers import PreTrainedConfig

from entropostat.trainers.model.vocabulary import innermost

RATE = re.compile(r"drop|jitter", re.IGNORECASE)
"""dropout, attention_dropout, resid_pdrop, layerdrop, drop_prob, drop_path_rate ..., and the noise on a router's input."""


def turn_off(model: Any) -> list[str]:
    """Set every rate of ``model``, a policy with or without adapters, to 0. Returns the names of those that were not."""
    names: set[str] = set()
    for module in model.modules():
        names |= _silence(module)
    root = innermost(model)
    for module in root.modules():
        config = vars(module).get("config")
        if module is not root and isinstance(config, PreTrainedConfig) and (rates := _rates(config)):
            vars(module)["config"] = Still(config, rates)
            names |= rates
    return sorted(names)


def _silence(module: nn.Module) -> set[str]:
    """The rates that ``module`` itself holds: numbers, and numbers by the name of an adapter."""
    dropout = isinstance(module, _DropoutNd) or RATE.search(type(module).__name__)
    names = set()
    for name, value in list(vars(module).items()):
        if not (RATE.search(name) or (dropout and name == "p")):
            continue
        shown = type(module).__name__ if name == "p" else name
        if _on(value):
            setattr(module, name, 0.0)
            names.add(shown)
        elif isinstance(value, dict) and not name.startswith("_"):
            for key in [key for key, rate in value.items() if _on(rate)]:
                value[key] = 0.0
                names.add(shown)
    return names


def _rates(config: PreTrainedConfig) -> frozenset[str]:
    """Names under which ``config`` gives a rate above 0, other names for them included."""
    names = {name for name, value in vars(config).items() if RATE.search(name) and _on(value)}
    return frozenset(names | {name for name, target in config.attribute_map.items() if target in names})


def _on(value: Any) -> bool:
    return isinstance(value, float) and value > 0


class Still:
    """A configuration seen by a layer that reads its rates at each call: these are 0, and all else is the original's."""

    def __init__(self, config: PreTrainedConfig, rates: frozenset[str]) -> None:
        vars(self).update(_config=config, _rates=rates)

    def __getattr__(self, name: str) -> Any:
        return 0.0 if name in self._rates else getattr(self._config, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._config, name, value)

    @property  # type: ignore[misc]
    def __class__(self) -> Any:
        """So that it passes for a configuration of the original's kind."""
        return type(self._config)

    def __reduce__(self) -> tuple[Any, ...]:
        return Still, (self._config, self._rates)
