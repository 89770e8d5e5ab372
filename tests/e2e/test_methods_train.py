"""Every recipe of `recipes/methods` trains the quickstart task for two generations, by the way that `entropostat train` takes.

All in one process: the policy is pre-trained once, and a run then takes about a second.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from support import run_files
from support.declared import undeclared

from entropostat import catalog
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.recipe import Recipe
from entropostat.trainers.build.policy import find_model
from entropostat.trainers.run import run_recipe

METHODS = sorted(path.stem for path in (RECIPES / "methods").glob("*.yaml"))
STEPS = 8
"""Two generations of four updates: a controller has measured, and the policy has moved, before the second."""
SHORT = [
    # The policy must know the task in part: where all answers are wrong, no method has anything to do.
    "model.build.steps=300",
    f"data.curriculum=[{{source: hard, steps: {STEPS}}}]",
    "trainer.per_device_train_batch_size=32",
    "trainer.logging_nan_inf_filter=false",  # or a loss that is not a number is logged as the last one that was
    "evaluate={every: 0, prompts: 0, reference: false}",
]
ACTING = {
    # Whether entropy meets the target within the first steps hangs on the rounding of the CPU.
    "autopilot": ["objective.weights.entropy_tilt.gain.autopilot.gate=none"],
    # Few ratios leave a band of .2 within one generation.
    "adapo": ["objective.loss.trl.epsilon_high.adapo.start=0.002", "objective.loss.trl.epsilon_high.adapo.low=0.001"],
    "follow": ["objective.penalties.entropy_bonus.coef.pid.gate=none"],
    "clip_b": ["objective.weights.clip_b.mu=1"],  # so far below the mean there is no token where entropy is so low
    "entropic": ["objective.advantages.entropic.alpha.entropic.target=2"],  # at its target it does nothing
    "pear": ["objective.rewards.pear.alpha=-1"],  # differences of the entropies of a few characters are small
    "step": ["objective.penalties.entropy_bonus.coef.step.target=2"],  # one-sided: it waits for a fall below the target
    "step_radius": ["optimizer.step_radius.target=0.02"],  # the usual learning rate stays far inside the radius
    # Both kinds of prompt: with hard ones alone it hangs on the rounding of the CPU whether any is found easy.
    **{
        name: ["data.curriculum=[{source: easy, steps: 4}, {source: hard, steps: 4}]"] for name in ("ares", "kl_bucket")
    },
    # It remembers prompts, and of thousands none would come up a second time.
    "difficulty": ["data.sources.hard.chain.size=30", "objective.data.difficulty.low=0.3"],
    "diversity_weighted": ["data.sources.hard.chain.size=30", "objective.data.diversity_weighted.floor=0"],
}
"""What it takes, and why, for a method to act on so small a policy within so few steps."""

SAME_GRADIENT = {"gpg": "one update a generation: the gradient is the policy gradient, only the value is another"}

INERT = ("icepop", "truncated_is", "sequence_mask", "rejection", "hicra")
"""They act on the difference between the engine that samples and the one that trains, which are one here; or on words."""

Train = Callable[..., list[dict[str, Any]]]


NEEDED = {
    "kl_reset": ["evaluate={every: 4, prompts: 8, samples: 2, k: [1]}"],  # it counts evaluations
    **{name: ["teacher.build.steps=60"] for name in ("distill", "none", "tip")},  # enough to differ from the policy
}


def acting(name: str) -> Recipe:
    return load(RECIPES / "methods" / f"{name}.yaml", [*SHORT, *NEEDED.get(name, ()), *ACTING.get(name, ())])


def plain() -> Recipe:
    return load(RECIPES / "quickstart" / "plain.yaml", SHORT)


def slots(recipe: Recipe) -> set[str]:
    """Where the term is that a recipe is named after; all slots that it sets, where there is none of that name."""
    named = {slot for slot, term in recipe.terms if term.kind == recipe.name}
    usual = plain().objective
    return named or {
        slot
        for slot in ("rewards", "advantages", "weights", "loss", "penalties")
        if recipe.objective[slot] != usual[slot]
    }


def without(recipe: Recipe, file: Path) -> Recipe:
    """The same recipe with plain GRPO's terms in the slots of its method: whatever else it sets stays.

    Where it sets none, the method is outside of the objective, and plain GRPO is what is left.
    """
    if not slots(recipe):
        return plain()
    usual = plain().resolved["objective"]
    kept = {slot: terms for slot, terms in recipe.resolved["objective"].items() if slot not in slots(recipe)}
    objective = {**{slot: usual[slot] for slot in slots(recipe) if slot in usual}, **kept}
    objective["advantages"] = objective.get("advantages") or usual["advantages"]
    resolved = {**recipe.resolved, "name": "without", "objective": objective}
    if "advantages" in slots(recipe):  # a critic goes with its estimator
        resolved = {key: block for key, block in resolved.items() if key != "critic"}
        resolved["trainer"] = {**resolved["trainer"], "kind": "grpo"}
    file.write_text(json.dumps(resolved))
    return load(file)


@pytest.fixture(scope="module")
def train(tmp_path_factory: Any) -> Iterator[Train]:
    """Runs a recipe and gives the rows of its optimizer steps; a recipe that only has another name is not run again."""
    threads, known = torch.get_num_threads(), dict[str, list[dict[str, Any]]]()

    def run(recipe: Recipe, again: bool = False) -> list[dict[str, Any]]:
        key = json.dumps({**recipe.resolved, "name": ""}, sort_keys=True)
        if again or key not in known:
            folder = tmp_path_factory.mktemp("run")
            recipe = load(written(recipe, folder / "recipe.yaml"), [f"output_dir={folder}"])
            assert run_recipe(recipe) == 0
            assert moved(recipe) > 0, "the weights are those of the start"
            assert not undeclared(recipe.run_dir), "logged, but not declared in entropostat/metrics"
            known[key] = run_files.step_rows(recipe.run_dir)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("WANDB_DIR", str(tmp_path_factory.mktemp("wandb")))
        torch.set_num_threads(1)
        yield run
    torch.set_num_threads(threads)


def written(recipe: Recipe, file: Path) -> Path:
    file.write_text(recipe.dump())
    return file


def moved(recipe: Recipe) -> float:
    """Largest change of a weight since the start of the run."""
    start, end = (load_file(Path(f) / "model.safetensors") for f in (find_model(recipe), recipe.run_dir / "final"))
    assert all(end[name].isfinite().all() for name in start)
    return max(float((end[name] - start[name]).abs().max()) for name in start)


@cache
def declared() -> Mapping[str, Mapping[str, Any]]:
    return catalog.load().terms


def controlled(term: Any) -> list[str]:
    """Fields of a term that a controller moves."""
    return [field for field, value in term.options.items() if isinstance(value, dict) and "constant" not in value]


def test_the_same_recipe_twice_is_the_same_run(train: Train) -> None:
    """Or a difference between two recipes would say nothing."""
    measured = ("step", "loss", "grad_norm", "entropy", "reward")
    first, second = ([[row.get(key) for key in measured] for row in train(plain(), again=a)] for a in (False, True))
    assert first == second


@pytest.mark.parametrize("name", METHODS)
def test_a_method_trains_and_logs_what_it_declares(name: str, train: Train) -> None:
    recipe = acting(name)
    rows = train(recipe)
    assert [row["step"] for row in rows] == list(range(1, STEPS + 1))
    for key in ("loss", "grad_norm", "entropy"):
        assert all(row[key] is not None for row in rows), f"{key} is not finite"
    assert any(row["grad_norm"] > 0 for row in rows)
    assert any(0 < row.get("reward", 0) < 1 for row in rows), "all answers are equally right: nothing is tested"
    outputs: list[set[float]] = []
    for slot, term in recipe.terms:
        for metric in declared()[slot][term.kind].provides:
            logged = [row[f"{term.name}/{metric}"] for row in rows if f"{term.name}/{metric}" in row]
            assert any(x is not None for x in logged), f"{term.name}/{metric}"
        for field in controlled(term):
            output = f"control/{slot}.{term.name}.{field}/output"
            outputs.append({row[output] for row in rows if output in row})
    assert all(outputs), "a controller logs no output"
    assert not outputs or any(len(values) > 1 for values in outputs), "no controller moved"


@pytest.mark.parametrize("name", METHODS)
def test_a_method_acts(name: str, train: Train, tmp_path: Path) -> None:
    """The gradient is another than with plain GRPO's terms in its place, by far more than rounding."""
    recipe = acting(name)
    with_it, without_it = train(recipe), train(without(recipe, tmp_path / "without.yaml"))
    if name in INERT:
        # Where terms are at work the backward pass of the head is another, whose rounding eight steps carry on.
        assert [row["grad_norm"] for row in with_it] == pytest.approx(
            [row["grad_norm"] for row in without_it], rel=1e-4
        )
        return
    key = "loss" if name in SAME_GRADIENT else "grad_norm"
    pairs = [(a[key], b[key]) for a, b in zip(with_it, without_it, strict=True)]
    assert max(abs(a - b) / max(abs(a), abs(b), 1e-3) for a, b in pairs) > 1e-2
