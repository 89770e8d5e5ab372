"""The command lines of `plan --engine verl`, composed by hydra from verl's own files, and held against what verl and our trainer check."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import verl
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from verl.trainer.ppo.utils import need_critic, need_reference_policy
from verl.utils.config import validate_config

from entropostat.recipe import load
from entropostat.recipe.verl_keys import KEYS
from entropostat.verl.command_line import MAIN, CommandLine, command_line
from entropostat.verl.hydra_text import hydra
from entropostat.verl.settings import Settings

ROOT = Path(__file__).parents[2]
RECIPES = sorted((ROOT / "recipes" / "papers").glob("*.yaml")) + sorted((ROOT / "recipes" / "models").glob("*.yaml"))
METHODS = sorted((ROOT / "recipes" / "methods").glob("*.yaml"))
ELSEWHERE = ("model={path: org/name}",)
"""A policy that verl can load, in place of the one that the project builds."""


def composed(words: list[str]) -> DictConfig:
    with initialize_config_dir(config_dir=str(Path(verl.__file__).parent / "trainer" / "config"), version_base=None):
        return compose("ppo_trainer", overrides=words)


@cache
def bare() -> DictConfig:
    return composed([])


@cache
def taken(file: Path, *overrides: str) -> CommandLine:
    return command_line(load(file, overrides), [str(file), *overrides])


def carried() -> list[Any]:
    shipped = [(file, ()) for file in RECIPES] + [(file, ELSEWHERE) for file in METHODS]
    return [pytest.param(file, more, id=file.stem) for file, more in shipped if not taken(file, *more).refused]


@pytest.mark.parametrize(("file", "more"), carried())
def test_verl_and_our_trainer_take_what_is_printed(file: Path, more: tuple[str, ...]) -> None:
    found = taken(file, *more)
    config = composed(found.words[len(MAIN) :])
    for key, value in found.overrides.items():
        got = OmegaConf.select(config, key.lstrip("+"), throw_on_missing=True)
        assert (OmegaConf.to_container(got) if OmegaConf.is_config(got) else got) == value, key
    validate_config(config, need_reference_policy(config), need_critic(config))
    settings = Settings.of(config)
    assert not need_critic(config) and settings.longest == config.data.max_response_length
    settings.switch_on(config)
    validate_config(config, need_reference_policy(config), need_critic(config))


def test_most_methods_go_along() -> None:
    names = {param.id for param in carried()}
    assert {"clip-cov-32b", "kl-cov-7b", "dapo-32b", "clip_cov", "kl_cov", "pid", "steer", "entropy_bonus"} <= names


@pytest.mark.parametrize("key", sorted({key.verl for key in KEYS}))
def test_every_key_of_the_table_is_one_of_verls(key: str) -> None:
    head, last = key.rsplit(".", 1)
    block = OmegaConf.select(bare(), head)
    assert last in block or (last == "attn_implementation" and head.endswith("override_config")), key


HOSTILE = [
    *(
        "a b",
        "x=y",
        "a,b",
        "{a: 1}",
        "[1]",
        "it's",
        'say "so"',
        "back\\",
        "back\\\\",
        '\\"',
        "${oc.env:HOME}",
        "007",
        "1e-3",
    ),
    *(
        "true",
        "Null",
        "nan",
        "",
        " ",
        "#x",
        "a:b",
        "~",
        "runs/a-b_c.d/x@y%z+",
        "line\\nbreak",
        "é",
        "$HOME",
        "`x`",
        "a!b",
    ),
]


@pytest.mark.parametrize(
    "value", [*HOSTILE, 1, -1, 1e-6, 2e5, True, None, [1, "a b", {"k": [None]}], {"a b": {"c:d": "007"}}], ids=repr
)
def test_hydra_reads_a_value_as_it_was(value: Any) -> None:
    override = OverridesParser.create().parse_override(f"+key={hydra(value)}")
    config = OmegaConf.create({"key": override.value()})
    assert json.loads(json.dumps(OmegaConf.to_container(config, resolve=True)))["key"] == value


def test_the_objective_itself_goes_along_where_the_command_line_has_changed_it(tmp_path: Path) -> None:
    file = ROOT / "recipes" / "papers" / "kl-cov-7b.yaml"
    found = taken(file, "objective.penalties.kl_cov.coef={step: {target: 0.5, signal: entropy}}")
    settings = Settings.of(composed(found.words[len(MAIN) :]))
    assert settings.spec["penalties"][0][2]["coef"] == {"step": {"target": 0.5, "signal": "entropy"}}
