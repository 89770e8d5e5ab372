"""`plan --engine verl`: the command line agrees with what plan says of the same run under TRL, or names what verl cannot carry."""

from __future__ import annotations

import json
import shlex
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from entropostat.__main__ import main
from entropostat.cli import plan as trl
from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import Arithmetic, arithmetic, total_steps, trainer_value
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.facts import option
from entropostat.recipe.verl_keys import KEYS, THEIRS
from entropostat.verl.batches import batches, unfit
from entropostat.verl.command_line import READ, CommandLine, command_line
from entropostat.verl.own_losses import own_loss

WHOLE = [file for folder in ("papers", "models", "quickstart") for file in sorted((RECIPES / folder).glob("*.yaml"))]
METHODS = sorted((RECIPES / "methods").glob("*.yaml"))
LOADABLE = ("model={path: org/name}",)
"""In place of the small policy that the project builds itself."""
PAPER = str(RECIPES / "papers" / "clip-cov-32b.yaml")
A, R = "actor_rollout_ref.actor", "actor_rollout_ref.rollout"


@cache
def taken(file: Path, *overrides: str) -> tuple[Recipe, CommandLine]:
    recipe = load(str(file), overrides)
    return recipe, command_line(recipe, [str(file), *overrides])


def shipped() -> list[Any]:
    pairs = [(file, ()) for file in WHOLE] + [(file, LOADABLE) for file in METHODS]
    return [pytest.param(file, more, id=f"{file.parent.name}-{file.stem}") for file, more in pairs]


@pytest.mark.parametrize(("file", "more"), shipped())
def test_a_shipped_recipe_has_the_same_numbers_in_verl_or_is_refused_by_name(file: Path, more: tuple[str, ...]) -> None:
    recipe, found = taken(file, *more)
    if found.refused:
        assert all(problem.key and problem.why and problem.fix for problem in found.refused)
        return
    get, told = found.overrides.__getitem__, trl.batch(arithmetic(recipe))
    prompts, group, mini = get("data.train_batch_size"), get(f"{R}.n"), get(f"{A}.ppo_mini_batch_size")
    assert prompts == told["prompts_per_generation"] and group == told["completions_per_prompt"]
    assert prompts * group == told["sequences_per_generation"] and mini * group == told["sequences_per_step"]
    updates = Fraction(prompts, mini) * get(f"{A}.ppo_epochs")
    assert updates == Fraction(str(told["updates_per_generation"]))
    gpus = get("trainer.nnodes") * get("trainer.n_gpus_per_node")
    assert gpus == told["processes"] and get(f"{A}.ppo_micro_batch_size_per_gpu") == told["micro_batch"]
    assert mini * group == gpus * told["micro_batch"] * told["accumulation"]
    assert get(f"{A}.optim.lr") == trainer_value(recipe, "learning_rate")
    assert (get(f"{R}.temperature"), get(f"{R}.top_p")) == (recipe.sampler.temperature, recipe.sampler.top_p)
    assert get("data.max_response_length") == trainer_value(recipe, "max_completion_length")
    if (steps := total_steps(recipe)) is not None:
        assert 0 <= get("trainer.total_training_steps") * updates - steps < updates
    low, high = (option(own_loss(recipe.objective["loss"]), "loss", key) for key in ("epsilon", "epsilon_high"))
    assert found.overrides.get(f"{A}.clip_ratio_low") == (low if isinstance(low, float) else None)
    high = low if high is None else high
    assert found.overrides.get(f"{A}.clip_ratio_high") == (high if isinstance(high, float) else None)


def test_what_is_refused_is_the_methods_that_need_more_than_verl_gives() -> None:
    refused = {file.stem for file in METHODS if taken(file, *LOADABLE)[1].refused}
    assert {"aepo", "flowrl", "distill", "temperature", "dcpo", "tip", "gae"} <= refused
    assert not {"grpo", "clip_cov", "kl_cov", "steer", "pid", "entropy_bonus", "kl_ref", "dr_grpo", "cispo"} & refused
    assert len(refused) < len(METHODS) / 2


def test_every_key_of_the_trainer_block_stands_behind_something() -> None:
    recipe = load(
        PAPER, ["trainer.adam_beta1=0.8", "trainer.lr_scheduler_type=linear", "trainer.cast_lm_head_to_fp32=true"]
    )
    found = command_line(recipe, [PAPER])
    said = {entry.key for entry in (*found.left, *found.refused)}
    assert {"trainer.adam_beta1", "trainer.cast_lm_head_to_fp32", "trainer.lr_scheduler_type"} <= said
    assert {"adam_beta1", "cast_lm_head_to_fp32"}.isdisjoint(READ) and recipe.trainer.keys() - READ == {
        "adam_beta1",
        "cast_lm_head_to_fp32",
    }


def sizes(**changed: int) -> Arithmetic:
    given = {
        "world": 2,
        "micro": 4,
        "accumulation": 2,
        "steps_per_generation": 8,
        "iterations": 1,
        "group": 8,
    } | changed
    given.setdefault("generation", given["world"] * given["micro"] * given["steps_per_generation"])
    return Arithmetic(**given)


def test_completions_become_prompts_and_optimizer_steps_generations() -> None:
    assert not [*unfit(sizes(), 2)]
    cut = batches(sizes(iterations=3))
    # 2 x 4 x 8 = 64 completions = 8 prompts; steps of 2 x 4 x 2 = 16 completions = 2 prompts, each seen three times.
    assert (cut.prompts, cut.group, cut.mini, cut.epochs, cut.micro, cut.gpus) == (8, 8, 2, 3, 4, 2)
    assert cut.updates == 12
    assert [cut.generations(steps) for steps in (1, 12, 13, 120)] == [1, 1, 2, 10]


@pytest.mark.parametrize(
    ("changed", "machines", "key"),
    [
        ({"group": 5}, 1, "trainer.num_generations"),
        ({"accumulation": 1, "group": 16}, 1, "trainer.gradient_accumulation_steps"),
        ({"accumulation": 16}, 1, "trainer.gradient_accumulation_steps"),
        ({"accumulation": 3, "group": 4, "steps_per_generation": 4}, 1, "trainer.gradient_accumulation_steps"),
        ({"world": 3, "group": 4, "generation": 96, "accumulation": 4, "steps_per_generation": 8}, 2, "launch.num_processes"),
        ({"world": 3, "generation": 32, "micro": 8, "accumulation": 1, "group": 4}, 1, "trainer.g"),
    ],
)  # fmt: skip
def test_what_verl_cannot_cut_alike_is_named(changed: dict[str, int], machines: int, key: str) -> None:
    problems = [*unfit(sizes(**changed), machines)]
    assert problems and problems[-1].key.startswith(key), problems


def told(capsys: Any, *words: str) -> tuple[int, str]:
    code = main(["plan", *words, "--engine", "verl"])
    return code, capsys.readouterr().out


def test_the_command_is_printed_with_what_does_not_go_along(capsys: Any) -> None:
    code, out = told(capsys, PAPER)
    command, _, rest = out.partition("\n\n")
    words = shlex.split(command.replace("\\\n", " "))
    assert code == 0 and words[:3] == ["python", "-m", "verl.trainer.main_ppo"]
    values = dict(word.split("=", 1) for word in words[3:])
    assert values[f"{A}.optim.lr"] == "1e-06" and values["trainer.v1.trainer_mode"] == "entropostat"
    assert values[f"+{A}.policy_loss.objective"] == PAPER and values["trainer.nnodes"] == "4"
    assert "256 prompts x 8, used for 8 update(s) of 32 prompts" in rest
    assert (
        "write them: entropostat data" in rest and "slurm: verl runs on a Ray cluster" in rest and "refused" not in rest
    )


def test_refused_is_named_in_place_of_a_command(capsys: Any) -> None:
    code, out = told(
        capsys, PAPER, "objective.penalties=[kl_ref: {reference: ema}]", "trainer.lr_scheduler_type=linear"
    )
    assert code == 1 and "main_ppo" not in out
    refused = out.partition("\nrefused\n")[2]
    assert "objective.penalties.kl_ref.reference: verl's reference does not move" in refused
    assert "trainer.lr_scheduler_type: verl has no schedule linear; take one of constant" in refused


def test_an_objective_that_the_command_line_changed_goes_along_itself(capsys: Any) -> None:
    code, out = told(capsys, PAPER, "objective.weights.clip_cov.fraction=0.01", "--json")
    planned = json.loads(out)
    given = planned["verl"]["overrides"][f"+{A}.policy_loss.objective"]
    assert code == 0 and given["weights"] == [{"clip_cov": {"fraction": 0.01, "low": 1.0, "high": 5.0}}]
    assert (
        planned["batch"]["sequences_per_step"] == planned["verl"]["batch"]["mini"] * planned["verl"]["batch"]["group"]
    )
    assert planned["verl"]["command"][0].startswith("python -m verl") and planned["verl"]["refused"] == []


def test_a_controller_that_moves_less_often_is_told() -> None:
    steps = "objective.weights.clip_cov.fraction={step: {target: 0.5, signal: entropy}}"
    key = "objective.weights.clip_cov.fraction"
    left = {entry.key: entry.why for entry in taken(Path(PAPER), steps)[1].left}
    assert left[key] == "its controller moves once a generation in verl, of 8 optimizer steps"
    assert key not in {entry.key for entry in taken(Path(PAPER), steps, "trainer.steps_per_generation=8")[1].left}


def test_an_error_of_plans_own_fails_here_too(capsys: Any) -> None:
    code, out = told(capsys, PAPER, "trainer.num_generations=7")
    assert code == 1 and "error: trainer.num_generations" in out


def test_the_table_goes_both_ways() -> None:
    assert all(THEIRS[key.ours] in {other.verl for other in KEYS if other.ours == key.ours} for key in KEYS)
    assert THEIRS["objective.loss.ppo_clip.epsilon"] == f"{A}.clip_ratio_low"
    assert len({key.verl for key in KEYS}) == len(KEYS)
