"""How a function of the user's is called in each form, and whether it can be."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

from entropostat.data.example import Example
from entropostat.reward.verifier import Form

SHAPES: dict[Form, str] = {
    "single": "f(completion, example, **options)",
    "batch": "f(completions, examples, **options)",
    "group": "f(completions, examples, **options)",
    "trl": "f(prompts, completions, **columns)",
}
OWN = ("answer", "id", "source")
"""Columns of every example. Those of its ``meta`` join them."""
GIVEN = ("prompts", "completions", "completion_ids", "trainer_state", "log_metric", "log_extra", *OWN)
"""What ``form: trl`` gives by name. Token ids are there in training only."""


def misfit(function: Callable[..., Any], form: Form, options: Mapping[str, Any]) -> str | None:
    """Why ``function`` cannot be called so, in words that follow its name; None where it can, or where nobody can tell."""
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):  # written in C
        return None
    names = set(signature.parameters)
    if form != "trl" and {"prompts", "completions"} <= names:
        return f"has TRL's signature, and form: {form} calls {SHAPES[form]}; set form: trl"
    try:
        if form != "trl":
            signature.bind(None, None, **options)
        elif not any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
            return f"cannot be called as {SHAPES[form]}: it takes no **columns; add **kwargs to its parameters"
        return None
    except TypeError as error:
        return f"cannot be called as {SHAPES[form]} with the options {', '.join(options) or 'given, which are none'}: {error}"


def trl_columns(examples: Sequence[Example], beside: Mapping[str, Any]) -> dict[str, Any]:
    """The keyword arguments besides prompts and completions: one list for each column, and what TRL gives once.

    What a function logs by TRL's callbacks is dropped: it runs in another process.
    """
    meta = dict.fromkeys(key for example in examples for key in example.meta)
    columns = {key: [example.meta.get(key) for example in examples] for key in meta if key not in GIVEN}
    columns |= {key: [getattr(example, key) for example in examples] for key in OWN}
    state = {"global_step": 0, "max_steps": 0, "epoch": 0.0, **(beside.get("trainer_state") or {})}
    columns |= {key: value for key, value in beside.items() if key != "trainer_state"}
    ignored = lambda *_: None
    return {**columns, "trainer_state": SimpleNamespace(**state), "log_metric": ignored, "log_extra": ignored}
