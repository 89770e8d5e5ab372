"""What passes the recipe's ranges is accepted by TRL's config, at the ends of every range and for every choice."""

from __future__ import annotations

import typing
from pathlib import Path
from typing import Any

import pytest
from support.leaves import Leaf, leaves

from entropostat.cli.plan import plan
from entropostat.recipe.errors import RecipeError
from entropostat.recipe.foreign_code import ATTENTION
from entropostat.recipe.trainer_ranges import CHOICES
from entropostat.trainers.run import training_config

BESIDE: dict[str, list[dict[str, Any]]] = {
    "dataloader_prefetch_factor": [{"dataloader_num_workers": 1}],
    "log_completions_hub_repo": [{"log_completions": True}],
}
"""What makes a value possible that is refused alone."""
OF_THE_MACHINE = ("tf32", "bf16", "fp16", "ddp_backend")
"""Fields that a config without a GPU or a launcher refuses."""


def literals(hint: Any) -> list[Any]:
    if typing.get_origin(hint) is typing.Literal:
        return list(typing.get_args(hint))
    return [value for part in typing.get_args(hint) for value in literals(part)]


def ends(leaf: Leaf) -> list[Any]:
    """Values at the ends of the range, all choices, and what else the type has a few of."""
    hint = leaf.form.model_fields[str(leaf.place[-1])].annotation
    text, values = str(hint), [*literals(hint)]
    if (allowed := leaf.range) is not None:
        kind = float if "float" in text else int
        inside = (allowed.low, allowed.high, None if allowed.below is None else allowed.below - 1e-6)
        values += [2] if allowed.holds(2) else []  # the least group
        values += [kind(end) for end in inside if end is not None] + list(allowed.special)
    return [*values, *([True, False] if "bool" in text else []), None, {}, "{}"]


TRAINER = [leaf for leaf in leaves() if leaf.place[0] == "trainer" and leaf.place[-1] not in OF_THE_MACHINE]


@pytest.mark.parametrize("leaf", TRAINER, ids=lambda leaf: f"{leaf.recipe['trainer']['kind']}.{leaf.place[-1]}")
def test_what_a_recipe_may_say_trls_config_takes(leaf: Leaf, tmp_path: Path) -> None:
    name, taken = str(leaf.place[-1]), 0
    for value in ends(leaf):
        for more in ({}, *BESIDE.get(name, [])):
            given = leaf._replace(
                recipe={**leaf.recipe, "trainer": {**leaf.recipe["trainer"], "num_generations": 2, **more}}
            )
            try:
                recipe = given.loaded(value)
            except RecipeError:
                continue
            if any(lint["level"] == "error" for lint in plan(recipe)["lints"]):
                continue
            config = training_config(recipe, tmp_path)
            taken += 1
            if isinstance(value, (int, float)) and not isinstance(value, bool):
                assert getattr(config, name) == value
    assert taken


def test_the_choices_are_those_of_the_libraries() -> None:
    from accelerate.utils.dataclasses import DynamoBackend
    from torch._inductor import list_mode_options
    from transformers.debug_utils import DebugOption
    from transformers.generation.configuration_utils import ALL_CACHE_IMPLEMENTATIONS
    from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

    assert set(CHOICES["cache_implementation"]) == {*ALL_CACHE_IMPLEMENTATIONS, "paged"}
    assert set(CHOICES["torch_compile_backend"]) <= {str(backend.value).lower() for backend in DynamoBackend}
    assert {str(b.value).lower() for b in DynamoBackend} - set(CHOICES["torch_compile_backend"]) == {"no"}
    assert set(CHOICES["torch_compile_mode"]) <= set(list_mode_options())
    assert set(CHOICES["debug"]) == {"", *(option.value for option in DebugOption)}
    assert {name for name in ALL_ATTENTION_FUNCTIONS.valid_keys() if "|" not in name} | {"eager"} == set(ATTENTION)
