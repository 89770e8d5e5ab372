"""Model configurations that no model has: `plan` says so and goes on."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from support.pace import pace

from entropostat.cli.plan import plan
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.scaling.shape import UnknownShape, from_config

PLAIN = str(RECIPES / "quickstart" / "plain.yaml")


@pytest.mark.parametrize("key", ["num_attention_heads", "hidden_size", "num_hidden_layers", "vocab_size", "head_dim"])
@pytest.mark.parametrize("value", [-1, 10**400, 2**40, "8", [8], True, 1.5])
def test_a_damaged_configuration_is_an_unknown_shape(key: str, value: Any) -> None:
    sizes = {
        "num_attention_heads": 2,
        "hidden_size": 8,
        "num_hidden_layers": 2,
        "intermediate_size": 8,
        "vocab_size": 9,
    }
    with pytest.raises(UnknownShape, match=f"its config.json says {key}: "):
        from_config({"model_type": "llama", **sizes, key: value})


@pytest.mark.parametrize("text", ["{", "[]", "\\ud800", "1" * 5000, "[" * 10**5, "null"])
def test_a_configuration_that_is_none_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(text)
    planned = plan(load(PLAIN, ["model={path: " + str(tmp_path) + "}"]))
    assert "config.json" in " ".join(planned["scaling"]["text"])


def test_the_largest_model_that_can_be_named_is_planned_at_once() -> None:
    words = ["model.build={hidden: 65536, layers: 1024, heads: 1024, ff: 262144}", "trainer.use_vllm=true"]
    begin = time.process_time()
    plan(load(PLAIN, words))
    assert time.process_time() - begin < pace()
