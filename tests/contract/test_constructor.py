"""The trainers as Python makes them: arguments as GRPOTrainer takes them, an objective in any form, mistakes in one line."""

from __future__ import annotations

import inspect
import random
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, IterableDataset
from support import tiny
from trl import GRPOTrainer

from entropostat.catalog import load as load_catalog
from entropostat.recipe import load
from entropostat.recipe.objective import as_control
from entropostat.rl.control import Control
from entropostat.rl.info import SLOTS
from entropostat.rl.objective import normalise_terms
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer

ROOT = Path(__file__).parents[2]
PLAIN = {"loss": "trl", "penalties": [{"kl_ref": {"coef": 1e-3}}]}
PPO = {"advantages": ["gae"], "loss": "trl"}
PID = {"pid": {"signal": "kl", "target": 0.1, "effect": "lowers", "ki": 0.01, "high": 1.0}}


# ---------------------------------------------------------------------------------------------- arguments


@pytest.mark.parametrize(("cls", "objective"), [(EntropyGRPOTrainer, PLAIN), (EntropyPPOTrainer, PPO)])
@pytest.mark.parametrize("positional", range(7))
def test_any_number_of_arguments_may_be_positional(path: str, cls: Any, objective: Any, positional: int) -> None:
    names = list(inspect.signature(GRPOTrainer.__init__).parameters)[1:]
    args = tiny.config(learning_rate=0.003)
    given = dict(zip(names, (path, tiny.digits, args, tiny.prompts(), None, tiny.tokenizer()), strict=False))
    first = [given.pop(name) for name in names[: min(positional, len(given))]]
    trainer = cls(*first, **given, objective=objective)
    assert trainer.args.learning_rate == 0.003 and trainer.reward_funcs == [tiny.digits]
    assert len(trainer.train_dataset) == 16 and trainer.args is not args


def test_an_argument_given_twice_or_too_many_are_pythons_own_error(path: str) -> None:
    with pytest.raises(TypeError, match="multiple values for argument 'args'"):
        EntropyGRPOTrainer(path, tiny.digits, tiny.config(), args=tiny.config(), objective=PLAIN)
    with pytest.raises(TypeError, match="too many positional"):
        EntropyGRPOTrainer(*range(40), objective=PLAIN)
    with pytest.raises(TypeError, match="args: must be a GRPOConfig"):
        EntropyGRPOTrainer(path, tiny.digits, {"max_steps": 1}, objective=PLAIN)


@pytest.mark.parametrize(
    ("cls", "objective", "end"), [(EntropyGRPOTrainer, PLAIN, "GRPO"), (EntropyPPOTrainer, PPO, "PPO")]
)
@pytest.mark.parametrize("loaded", [False, True])
def test_without_args_the_run_goes_where_trl_would_put_it(
    path: str, cls: Any, objective: Any, end: str, loaded: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    model: Any = path
    if loaded:
        model = tiny.Qwen2ForCausalLM.from_pretrained(path)
    trainer = cls(model, tiny.digits, train_dataset=tiny.prompts(), objective=objective)
    assert trainer.args.output_dir == f"{Path(path).name}-{end}"


def test_no_config_is_built_before_the_objective_is_known_to_be_right(
    path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def built(*_: Any, **__: Any) -> Any:
        raise AssertionError("a config was built")

    monkeypatch.setattr("entropostat.trainers.trl.config.default_config", built)
    for cls in (EntropyGRPOTrainer, EntropyPPOTrainer):
        with pytest.raises(ValueError, match=r"^objective: null is no objective"):
            cls(path, tiny.digits)
        cls(path, tiny.digits, tiny.config(), tiny.prompts(), objective=PPO if cls is EntropyPPOTrainer else PLAIN)


# ---------------------------------------------------------------------------------------------- the objective


def test_every_form_of_an_objective_is_the_same_objective(tmp_path: Path) -> None:
    yaml = {
        "advantages": [{"grpo": {"scale": "batch"}}, {"entropy_shaped": {}}],
        "weights": [{"clip_cov": {"fraction": 0.01}}],
        "loss": {"trl": {"type": "grpo"}},
        "penalties": [{"kl_ref": {"coef": PID}}, {"kl_ref": {"name": "far", "coef": 0.1}}],
        "scalars": [{"learning_rate": {"scale": 0.5}}],
    }
    named = {slot: normalise_terms(terms) for slot, terms in yaml.items() if slot != "loss"}
    named["loss"] = ("trl", "trl", {"type": "grpo"})
    recipe = tmp_path / "recipe.yaml"
    recipe.write_text(f"extends: entropostat:quickstart/plain.yaml\nobjective: {yaml}\n".replace("'", ""))
    short = {**yaml, "advantages": [{"grpo": {"scale": "batch"}}, "entropy_shaped"]}
    forms = [yaml, named, recipe, str(recipe), load(recipe).objective, as_control(yaml), short]
    assert all(as_control(form) == as_control(yaml) for form in forms)
    assert (
        as_control({"loss": "trl"}) == as_control({"loss": ("trl", "trl", {})}) == as_control({"loss": {"trl": None}})
    )


@pytest.mark.parametrize(
    "file", sorted((ROOT / "recipes" / "methods").glob("*.yaml")), ids=lambda file: file.name.removesuffix(".yaml")
)
def test_the_objective_of_a_recipe_is_read_from_its_path_and_from_its_mapping(file: Path) -> None:
    recipe = load(file)
    expected = Control.build(recipe.objective)
    assert as_control(file) == expected
    mapping = recipe.resolved["objective"]
    defaults = {"advantages": [{"grpo": {}}], "loss": "trl"}  # what a recipe says of slots that it leaves out
    assert as_control({**defaults, **mapping}) == expected


def test_a_yaml_objective_trains(path: str) -> None:
    trainer = EntropyGRPOTrainer(path, tiny.digits, tiny.config(), tiny.prompts(), objective=PLAIN)
    trainer.train()
    assert trainer.state.global_step == 2 and "kl_ref/kl" in trainer.state.log_history[0]


MISTAKES: dict[str, tuple[Any, str]] = {
    "none": (None, 'objective: null is no objective; give a mapping such as {"loss": "trl"'),
    "a list": (["trl"], "objective: ['trl'] is no objective; give a mapping"),
    "empty": ({}, "objective.loss: missing; name one, such as 'trl'"),
    "no loss": ({"advantages": ["grpo"]}, "objective.loss: missing; name one, such as 'trl'"),
    "a loss of none": ({"loss": None}, "objective.loss: missing; name one"),
    "a slot": ({"loss": "trl", "penalty": ["kl_ref"]}, "objective.penalty: there is no such slot; did you mean 'penalties'?"),
    "the loss's slot": ({"los": "trl"}, "objective.los: there is no such slot; did you mean 'loss'?"),
    "a term": ({"loss": "trl", "weights": ["clip_cv"]}, "objective.weights.clip_cv: unknown weights term 'clip_cv'; did you mean 'clip_cov'?"),
    "a loss": ({"loss": "tlr"}, "objective.loss.tlr: unknown loss 'tlr'; did you mean 'trl'?"),
    "another slot's term": ({"loss": "trl", "weights": ["kl_ref"]}, "move it to objective.penalties"),
    "a key": ({"loss": {"trl": {"tpye": "grpo"}}}, "objective.loss.trl.tpye: unknown key 'tpye' (value 'grpo'); did you mean 'type'?"),
    "a value": ({"loss": {"trl": {"type": "dapoo"}}}, "objective.loss.trl.type: must be one of"),
    "text for a number": ({"loss": "trl", "penalties": [{"kl_ref": {"coef": "0.1"}}]}, "must be a number or a controller, not '0.1'"),
    "out of range": ({"loss": "trl", "weights": [{"clip_cov": {"fraction": 2.0}}]}, "and at most 0.5, not 2.0"),
    "no list": ({"loss": "trl", "weights": {"clip_cov": {}}}, "objective.weights: must be a list of terms, such as [{'clip_cov': {}}]"),
    "a text for a list": ({"loss": "trl", "weights": "clip_cov"}, "must be a list of terms, such as ['clip_cov'], not 'clip_cov'"),
    "two in one": ({"loss": "trl", "weights": [{"clip_cov": {}, "steer": {}}]}, "as a mapping of one key"),
    "a controller": ({"loss": "trl", "penalties": [{"kl_ref": {"coef": {"pidd": {}}}}]}, "unknown controller 'pidd'; did you mean 'pid'?"),
    "twice": ({"loss": "trl", "penalties": ["kl_ref", "kl_ref"]}, "give one of them its own `name:`"),
    "a signal": (
        {"loss": "trl", "penalties": [{"kl_ref": {"coef": {"pid": {**PID["pid"], "signal": "klx"}}}}]},
        "objective.penalties.kl_ref.coef: nothing measures 'klx'; did you mean 'kl'?",
    ),
    "a reshaper first": (
        {"loss": "trl", "advantages": ["edge"]},
        "objective.advantages.edge: reshapes the advantages of the term before it, and there is none",
    ),
    "named form": ({"loss": ("trl", "trl", {"typ": "grpo"})}, "objective.loss.trl.typ: unknown key 'typ'"),
    "no file": ("nowhere/recipe.yaml", "nowhere/recipe.yaml: no such file"),
}  # fmt: skip


@pytest.mark.parametrize("case", MISTAKES)
@pytest.mark.parametrize("cls", [EntropyGRPOTrainer, EntropyPPOTrainer])
def test_a_wrong_objective_is_one_line_that_says_what_is_right(case: str, cls: Any) -> None:
    objective, message = MISTAKES[case]
    if case in ("a signal", "a reshaper first") and cls is EntropyPPOTrainer:
        pytest.skip("PPO asks for gae first")
    with pytest.raises(Exception) as caught:
        cls("no/model", tiny.digits, objective=objective)
    assert type(caught.value).__name__ in ("ValueError", "RecipeError")
    assert message in str(caught.value) and "\n" not in str(caught.value)


REQUIRED = [
    (slot, name, field.name)
    for slot in SLOTS
    for name, term in load_catalog().terms[slot].items()
    for field in term.fields
    if field.required
]
REQUIRED_OF_CONTROLLERS = [
    (name, field.name)
    for name, term in load_catalog().terms["controllers"].items()
    for field in term.fields
    if field.required
]


@pytest.mark.parametrize(("slot", "name", "key"), REQUIRED)
def test_a_missing_option_of_a_term_is_named(slot: str, name: str, key: str) -> None:
    spec = {"loss": "trl", slot: name if slot == "loss" else [name]}
    with pytest.raises(ValueError, match=rf"objective\.{slot}\.{name}\.{key}: missing; it says: ."):
        as_control(spec)


@pytest.mark.parametrize(("name", "key"), REQUIRED_OF_CONTROLLERS)
def test_a_missing_option_of_a_controller_is_named(name: str, key: str) -> None:
    with pytest.raises(ValueError, match=rf"objective\.penalties\.kl_ref\.coef\.{name}\.{key}: missing; it says: ."):
        as_control({"loss": "trl", "penalties": [{"kl_ref": {"coef": {name: {}}}}]})


@pytest.mark.parametrize("slot", ["advantages", "weights", "loss", "penalties", "scalars", "data"])
def test_every_misspelt_term_and_key_is_told_by_its_nearest(slot: str) -> None:
    """One letter left out, at a place drawn by chance."""
    rng = random.Random(slot)
    shorter = lambda word: word[: (at := rng.randrange(1, len(word)))] + word[at + 1 :]
    spec = lambda term: {"loss": "trl", slot: term if slot == "loss" else [term]}
    for name, term in load_catalog().terms[slot].items():
        for key in (field.name for field in term.fields if len(field.name) > 4):
            with pytest.raises(ValueError, match=r"unknown key '\w+' .*; (did you mean|known:)"):
                as_control(spec({name: {shorter(key): 1.0}}))
        if len(name) > 4 and (wrong := shorter(name)) not in load_catalog().terms[slot]:
            with pytest.raises(ValueError, match=r"; did you mean"):
                as_control(spec(wrong))


# ---------------------------------------------------------------------------------------------- the data


def stream(prompts: int) -> IterableDataset:
    return tiny.prompts(prompts).to_iterable_dataset()


@pytest.mark.parametrize("count", [0, 1, 3])
@pytest.mark.parametrize("steps_per_generation", [4, 8])
def test_a_dataset_smaller_than_a_generation_is_refused(path: str, count: int, steps_per_generation: int) -> None:
    args = tiny.config(steps_per_generation=steps_per_generation, max_steps=3)
    data = Dataset.from_dict({"prompt": ["1+1="] * count})
    for cls, objective in ((EntropyGRPOTrainer, PLAIN), (EntropyPPOTrainer, PPO)):
        with pytest.raises(
            ValueError, match=rf"train_dataset: {count} prompts do not fill one generation of {steps_per_generation} "
        ):
            cls(path, tiny.digits, args, data, objective=objective)


def test_a_dataset_of_exactly_one_generation_trains(path: str) -> None:
    args = tiny.config(steps_per_generation=4, max_steps=3)
    for data in (tiny.prompts(4), stream(4)):
        trainer = EntropyGRPOTrainer(path, tiny.digits, args, data, objective=PLAIN)
        trainer.train()
        assert trainer.state.global_step == 3


def test_a_stream_smaller_than_a_generation_ends_in_an_error(path: str) -> None:
    args = tiny.config(steps_per_generation=4, max_steps=3)
    trainer = EntropyGRPOTrainer(path, tiny.digits, args, stream(3), objective=PLAIN)
    with pytest.raises(
        ValueError, match="train_dataset: no step was made, its prompts do not fill one generation of 4 "
    ):
        trainer.train()


def test_grpo_refuses_groups_of_one_that_only_a_critic_can_judge(path: str) -> None:
    with pytest.raises(ValueError, match=r"num_generations: 1 completion per prompt .*EntropyPPOTrainer"):
        EntropyGRPOTrainer(path, tiny.digits, tiny.ppo_config(), tiny.prompts(), objective=PLAIN)
