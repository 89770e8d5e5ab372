"""What a term reads is declared as data: plan, trainer and the terms themselves agree on it."""

from __future__ import annotations

import ast
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, ClassVar

import pytest
from unit.control_support import BUILT
from unit.rl_support import ALL, batch_of, label, objective, rollout_view, total

from entropostat.catalog import from_json, load, to_json
from entropostat.readers.recipe_file import INCIDENTAL
from entropostat.recipe import Recipe, facts
from entropostat.recipe import load as load_recipe
from entropostat.recipe.arithmetic import arithmetic
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.machine_blocks import STRATEGIES
from entropostat.rl.batch import TokenBatch
from entropostat.rl.control import Control
from entropostat.rl.critic_choices import COMBINATIONS, LOSSES
from entropostat.rl.info import SLOTS
from entropostat.rl.loss_types import CLIPPED, TYPES
from entropostat.rl.needs import SCORED, STATISTICS, Condition, Need, declared, read, unless, when
from entropostat.rl.registry import CONTROLLERS, REGISTRIES, Registry, option
from entropostat.rl.signals import RUN
from entropostat.rl.term import Scalar
from entropostat.scaling import run as scaling
from entropostat.scaling.presets import PRESETS

FILES = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name not in ("accelerate", "base"))
PLAIN = RECIPES / "quickstart" / "plain.yaml"
Setting = tuple[str, str, dict[str, Any]]


def conditioned() -> list[Setting]:
    """Every combination of the options on which a need of a term depends, where the term accepts it."""
    settings = []
    for slot, registry in REGISTRIES.items():
        for kind in registry.names():
            info, known = registry[kind].info, {f.name: f for f in fields(registry[kind])}
            names = sorted({c.option for need in (*info.needs, *info.rollout_needs) for c in need.conditions})
            values = [known[name].metadata.get("choices") or others(known[name]) for name in names]
            for chosen in itertools.product(*values) if names else ():
                options = dict(zip(names, chosen, strict=True))
                required = {"anchor": 0.3} if kind == "siren" else {}
                try:
                    registry.build(kind, required | options)
                except ValueError:
                    continue
                settings.append((slot, kind, required | options))
    return settings


def others(field: Any) -> tuple[Any, ...]:
    """Two values of an option without choices."""
    if isinstance(field.default, bool):
        return False, True
    return None, ["word"] if "list" in str(field.type) else 0.1


SETTINGS = [*ALL, *conditioned()]


def recipe_of(setting: Setting, *more: str) -> Recipe:
    slot, kind, options = setting
    term = {kind: options}
    if slot == "advantages":
        given: Any = [{"grpo": {}}, term] if REGISTRIES[slot][kind].reshapes else [term]
    else:
        given = term if slot == "loss" else [term]
    return load_recipe(PLAIN, [f"objective.{slot}={json.dumps(given)}", *more])


def asked(recipe: Recipe) -> tuple[set[str], set[str], set[str]]:
    """What plan believes to be read, in the loss and once per generation, and the signals of the controllers."""
    terms = [fields for name, fields in facts.rollout_readers(recipe).items() if not name.startswith("objective.")]
    return {*facts.needs(recipe)}, set().union(*terms), {*facts.signals(recipe)}


def of_control(recipe: Recipe) -> tuple[set[str], set[str], set[str]]:
    control = Control.build(recipe.objective)
    return {*control.template.needs}, {*control.template.rollout_needs}, {*control.signals} - {*RUN}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(RECIPES)))
def test_plan_and_trainer_read_the_same_in_every_recipe(path):
    recipe = load_recipe(path)
    assert asked(recipe) == of_control(recipe)


def test_plan_and_trainer_read_the_same_at_every_setting():
    apart = [s for s in SETTINGS if asked(recipe := recipe_of(s)) != of_control(recipe)]
    assert not apart and len(SETTINGS) > 150


def controlled(kind: str, options: dict[str, Any]) -> Recipe:
    options = {key: "entropy_ratio" if value == "s" else value for key, value in options.items()}
    return load_recipe(PLAIN, [f"objective.penalties={json.dumps([{'kl_ref': {'coef': {kind: options}}}])}"])


@pytest.mark.parametrize("kind", BUILT)
def test_plan_and_trainer_hear_the_same_signals_at_every_choice_of_a_controller(kind):
    choices = [{f.name: value} for f in fields(CONTROLLERS[kind]) for value in f.metadata.get("choices", ()) if value]
    for options in [{}, *choices]:
        recipe = controlled(kind, BUILT[kind] | options)
        assert asked(recipe) == of_control(recipe), options


class Watched(TokenBatch):
    """Notes which of its fields are looked at, by any batch that was made from one of these."""

    seen: ClassVar[set[str]] = set()

    def __getattribute__(self, name: str) -> Any:
        Watched.seen.add(name)
        return object.__getattribute__(self, name)

    def detached(self) -> TokenBatch:
        return self  # the batches here have no graph, and to look at every field is not the term's doing


def watched(batch: TokenBatch) -> TokenBatch:
    view = object.__new__(Watched)
    view.__dict__.update(batch.__dict__)
    Watched.seen = set()
    return view


# Whoever looks at the log-probs of the rollout phase looks at the old ones; a ratio is to the old ones.
DESCRIBED = ("unshaped", "truncated", "lengths", "token_ids", "pieces", "texts", "answers")
"""Cheaper than a forward, and not free."""
ALSO = {"old_logps": {"logps"}}


@pytest.mark.parametrize("setting", SETTINGS, ids=label)
def test_a_term_declares_nothing_that_it_does_not_read(setting):
    """Too much costs a forward of the whole generation, or a pass over the vocabulary."""
    o, batch = objective(setting), batch_of(5)
    first = watched(rollout_view(batch))
    o.reward(first, {}, learn=True)
    stats = o.rollout(first).stats
    if o.sampler is not None:
        o.sampler.term.entropy(first)
    in_rollout = Watched.seen
    total(o, watched(batch), stats)
    in_loss = Watched.seen

    def unread(names: frozenset[str], seen: set[str]) -> set[str]:
        return {name for name in names if not seen & {name, *ALSO.get(name, ())}}

    assert not unread(o.rollout_needs & (SCORED | {"ref_logps", *DESCRIBED}), in_rollout)
    assert not unread(o.needs & {*STATISTICS, "ref_logps"}, in_loss)


@pytest.mark.parametrize("setting", SETTINGS, ids=label)
def test_plan_names_every_forward_and_every_pass_over_the_vocabulary(setting):
    recipe = recipe_of(setting, "trainer.num_iterations=1", "trainer.steps_per_generation=null")
    sizes = arithmetic(recipe)
    assert sizes.aligned
    template = Control.build(recipe.objective).template
    named = [line for line in facts.extra_forwards(recipe, sizes) if line.startswith("old log-probs")]
    assert bool(named) is bool(template.rollout_needs & SCORED)
    estimate = scaling.of_recipe(recipe, next(iter(PRESETS.values())).shape)
    assert estimate.own_pass is bool((template.needs | template.rollout_needs) & {*STATISTICS})


def test_the_distributions_that_a_rollout_keeps_count_by_their_entries():
    shape = next(iter(PRESETS.values())).shape

    def buffered(**options: Any) -> int:
        return scaling.of_recipe(recipe_of(("penalties", "lp_reg", options)), shape).buffered

    small, large = buffered(top_k=8), buffered(top_k=64)
    assert large - small == 2 * (64 - 8)
    assert buffered(estimator="k3", top_k=64) == buffered(estimator="k3", top_k=8) == small - 16


def test_a_need_holds_where_all_its_conditions_do():
    needs = declared(["b", when(kind="x").unless(scope="rollout").needs("c", "d"), "a", unless(size=None).needs("e")])
    assert needs[0] == Need(("a", "b"))

    def needed(**options: Any) -> set[str]:
        return set(read(needs, {"kind": "x", "scope": "micro", "size": None} | options))

    assert needed() == {*"abcd"}
    assert needed(kind="y") == needed(scope="rollout") == {*"ab"}
    assert needed(size=0.0) == needed(size={"pid": {}}) == {*"abcde"}
    assert [str(need) for need in needs] == ["a, b", "c, d (kind: x, scope not rollout)", "e (size not null)"]


@dataclass(frozen=True)
class Sized(Scalar):
    kind: str = option("x", choices=("x", "y"))
    size: float = option(1.0)


@pytest.mark.parametrize(
    ("need", "message"),
    [
        (when(knid="x").needs("a"), "unknown option in a condition 'knid', did you mean 'kind'"),
        (when(kind="z").needs("a"), "the condition 'kind: z' names no choice of that option"),
        (unless(size=1.0).needs("a"), "the condition 'size not 1.0' names no choice of that option"),
    ],
)
def test_a_condition_that_cannot_be_decided_from_a_recipe_is_refused_at_registration(need, message):
    registry = Registry("things", "none", Scalar)
    with pytest.raises(ValueError, match=message):
        registry.register("thing", paper="none", rollout_needs=[need])(Sized)


def test_conditions_survive_the_catalog():
    steer = from_json(to_json(load())).terms["weights"]["steer"]
    assert Need(("sum_p2", "sum_p2_logp"), (Condition("scope", "rollout"), Condition("omega", "full"))) in (
        steer.rollout_needs
    )


def conditions() -> Iterator[tuple[str, Need]]:
    for registry in REGISTRIES.values():
        for name in registry.names():
            info = registry[name].info
            yield from ((name, need) for need in (*info.needs, *info.rollout_needs))


def test_every_declared_field_is_one_of_the_batch():
    known = {f.name for f in fields(TokenBatch)}
    assert not [(name, need) for name, need in conditions() if not known.issuperset(need.fields)]


def literals(source: str) -> Iterator[frozenset[str]]:
    """Every tuple, list, set or Literal of nothing but names."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            names = [e.value for e in node.elts if isinstance(e, ast.Constant) and isinstance(e.value, str)]
            if len(names) == len(node.elts):
                yield frozenset(names)


@pytest.mark.parametrize("table", [CLIPPED, TYPES, STRATEGIES, INCIDENTAL, SLOTS, COMBINATIONS, LOSSES], ids=" ".join)
def test_what_plan_reader_and_trainer_share_is_written_down_once(table):
    root = Path(__file__).parents[2]
    files = [file for room in ("rl", "trainers", "entropostat", "reward") for file in (root / room).rglob("*.py")]
    places = [file for file in files for names in literals(file.read_text(encoding="utf-8")) if names == {*table}]
    assert len(places) == 1


@pytest.mark.parametrize("kind", TYPES)
def test_plan_and_trainer_say_the_same_of_what_each_of_trls_losses_holds(kind):
    recipe = recipe_of(("loss", "trl", {"type": kind}))
    assert facts.held_by_loss(recipe) == Control.build(recipe.objective).template.loss.term.holds


@pytest.mark.parametrize("kind", REGISTRIES["loss"].names())
def test_plan_and_trainer_say_the_same_of_what_a_loss_holds(kind):
    recipe = recipe_of(("loss", kind, {}))
    assert facts.held_by_loss(recipe) == Control.build(recipe.objective).template.loss.term.holds
