"""The contract of a term: what a slot asks for, and that nothing else is ever listened for."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, make_dataclass
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest

from entropostat import catalog
from entropostat.data.registry import Source
from entropostat.faults import SetupError
from entropostat.reward.verifier import Verifier
from entropostat.rl import registry as registries
from entropostat.rl import term as contracts
from entropostat.rl.registry import REGISTRIES, Registry, TermError, option
from entropostat.rl.term import Loss, ScalarPenalty, Surrogate, TokenPenalty, Weight

ROOT = Path(__file__).parents[2]


def give(*_: Any) -> Any:
    return None


def bases() -> list[type[Any]]:
    """Everything that a term may derive from: the leaves of rl/term.py, and the two contracts outside of rl."""
    every = [k for k in vars(contracts).values() if inspect.isclass(k) and issubclass(k, contracts.Term)]
    return [k for k in every if not (k.__subclasses__() and {*k.__subclasses__()} & {*every})] + [
        *(k for k in every if k.__name__ in ("Advantage", "ScalarPenalty")),
        *(Source, Verifier),
    ]


BASES = bases()


def required(base: type[Any]) -> dict[str, Any]:
    """The least that a class of this base must state."""
    given: dict[str, Any] = {name: give for name in base.__abstractmethods__}
    for k in base.__mro__:
        for name, value in vars(k).items():
            if name in given and isinstance(value, property):
                given[name] = property(give)
    if issubclass(base, TokenPenalty):
        given["policy_term"] = True
    return given | ({"score": give} if base is Verifier else {})


def fields_of(base: type[Any]) -> list[Any]:
    if issubclass(base, Loss):
        return [("type", str, option("dapo"))]
    return [("share", float, option(0.5))] if base is contracts.SamplingPenalty else []


def made(base: type[Any], members: dict[str, Any], fields: list[Any] = []) -> type[Any]:  # noqa: B006
    return make_dataclass("Mine", fields, bases=(base,), namespace=members, frozen=True)


def register(base: type[Any], cls: type[Any]) -> type[Any]:
    slot = next((r.base for r in REGISTRIES.values() if issubclass(base, r.base)), base)
    return Registry("things", "none", slot).register("mine", paper="none")(cls)


def members(base: type[Any]) -> dict[str, Any]:
    """Public member -> its form in the contract: a method, a property or a value."""
    by_name: dict[str, Any] = {}
    for k in (k for k in base.__mro__ if issubclass(k, contracts.Term)):
        for name in [*vars(k), *inspect.get_annotations(k)]:
            if not name.startswith("_"):
                by_name.setdefault(name, vars(k).get(name))
    return by_name


def misspelt(name: str) -> Iterator[str]:
    """A letter too few, one too many, two exchanged, another word form, and camel case."""
    middle = len(name) // 2
    yield name[:middle] + name[middle + 1 :]
    yield name[:middle] + name[middle] + name[middle:]
    yield name[: middle - 1] + name[middle] + name[middle - 1] + name[middle + 1 :]
    yield name + "s"
    yield name.capitalize()


CASES = [(base, name) for base in BASES for name in members(base) if name != "info"]


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_the_least_that_a_base_asks_for_is_enough(base):
    assert register(base, made(base, required(base), fields_of(base))).info.name == "mine"


@pytest.mark.parametrize(("base", "name"), CASES, ids=lambda x: x if isinstance(x, str) else x.__name__)
def test_every_misspelt_member_of_every_slot_is_refused_and_told_the_right_one(base, name):
    known, near = {*members(base)}, "prepared?" if name.startswith("prepare") else name
    for wrong in {*misspelt(name)} - known:
        for value in (give, property(give), True):
            cls = made(base, required(base) | {wrong: value}, fields_of(base))
            with pytest.raises(TermError, match=f"Mine has an unknown member '{wrong}', did you mean '{near}'"):
                register(base, cls)


@pytest.mark.parametrize("base", BASES, ids=lambda base: base.__name__)
def test_what_must_be_given_is_missed_by_name(base):
    whole, fields = required(base), fields_of(base)
    for name in whole:
        with pytest.raises(TermError, match=f"Mine has no `{name}`"):
            register(base, made(base, {key: value for key, value in whole.items() if key != name}, fields))
    for name, *_ in fields:
        with pytest.raises(TermError, match=f"Mine has no `{name}`, which .* asks for"):
            register(base, made(base, whole))
        with pytest.raises(TermError, match=f"Mine has no `{name}`, only `{name}e`"):
            register(base, made(base, whole, [(name + "e", str, option("x"))]))


def test_a_misspelt_call_and_a_misspelt_post_init_are_seen_though_python_would_not():
    with pytest.raises(TermError, match="has `__cal__`, did you mean `__call__`"):
        register(Weight, made(Weight, {"__cal__": give}))
    with pytest.raises(TermError, match="has `__post_inti__`, did you mean `__post_init__`"):
        register(Weight, made(Weight, {"__call__": give, "__post_inti__": give}))
    register(Weight, made(Weight, {"__call__": give, "__post_init__": give}))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"prepare": give}, "has `prepare` and no `scope`, which says when that runs"),
        ({"scope": option("rollout", choices=("rollout",))}, "has a `scope` and no `prepare`"),
        (
            {"prepare": give, "scope": option("rolout")},
            "has the `scope` 'rolout', which is none of micro, ranks, rollout",
        ),
        ({"prepare": give, "scope": option("micro", choices=("micro", "rank"))}, "has the `scope` 'rank'"),
        ({"prepare": True, "scope": option("micro")}, "has `prepare`, which must be a method"),
        ({"smooth": give}, "has `smooth`, which must be a value or a property"),
        ({"smooth": option(True)}, "has an option `smooth`, which is no option: write `smooth = ...` without a type"),
        ({"helper": give}, "has an unknown member 'helper'; known: .*; a helper of its own begins with an underscore"),
    ],
)
def test_members_that_contradict_each_other_or_have_the_wrong_form_are_refused(given, message):
    fields = [(name, str, value) for name, value in given.items() if not callable(value) and value is not True]
    rest = {name: value for name, value in given.items() if name not in {f[0] for f in fields}}
    with pytest.raises(TermError, match=message):
        register(Weight, made(Weight, {"__call__": give} | rest, fields))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"holds": "ratio"}, "has `holds` without `bounded`"),
        ({"bounded": give}, "has `bounded` without `holds`"),
        ({"holds": "ratoi", "bounded": give}, "has `holds` 'ratoi', which is none of ratio, weight, nothing"),
    ],
)
def test_a_loss_says_both_what_it_holds_and_of_which_tokens(given, message):
    with pytest.raises(TermError, match=message):
        register(Surrogate, made(Surrogate, {"__call__": give} | given, fields_of(Surrogate)))


def test_a_class_of_another_slot_or_of_none_is_told_what_to_derive_from():
    plain = make_dataclass("Mine", [], namespace={"__call__": give}, frozen=True)
    for cls in (plain, made(Weight, {"__call__": give})):
        with pytest.raises(
            ValueError, match=r"must derive from TokenPenalty or ScalarPenalty of entropostat\.rl\.term"
        ):
            Registry("penalties", "none", contracts.Penalty).register("mine", paper="none")(cls)


def test_a_term_of_a_term_needs_its_own_decorator():
    first = made(Weight, {"__call__": give})
    with pytest.raises(TermError, match="must be a frozen dataclass"):
        register(Weight, type("Mine", (first,), {}))
    register(Weight, made(first, {}, [("more", float, option(1.0))]))


def test_a_plug_in_is_refused_in_one_line_that_names_it(monkeypatch, tmp_path):
    (tmp_path / "my_terms.py").write_text(
        "from dataclasses import dataclass\n"
        "from entropostat.rl.registry import WEIGHTS\n"
        "from entropostat.rl.term import Weight\n"
        "@WEIGHTS.register('mine', paper='none')\n"
        "@dataclass(frozen=True)\n"
        "class Mine(Weight):\n"
        "    smoth = True\n"
        "    def __call__(self, batch): ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    point = EntryPoint("mine", "my_terms", registries.PLUGIN_GROUP)
    for module in (registries, catalog):
        monkeypatch.setattr(module, "entry_points", lambda group: [point])
    monkeypatch.setitem(REGISTRIES, "weights", fresh := Registry("weights", "entropostat.rl.weights", Weight))
    line = (
        "plug-in mine (my_terms): weights/mine: Mine has an unknown member 'smoth', did you mean 'smooth'?; "
        "a helper of its own begins with an underscore"
    )
    with pytest.raises(TermError) as told:
        fresh.names()
    assert str(told.value) == line
    fresh._complete = False
    catalog.load.cache_clear()
    with pytest.raises(SetupError) as told:
        catalog.load()
    assert str(told.value) == line
    monkeypatch.undo()
    catalog.load.cache_clear()


# ------------------------------------------------------------------------------------------- nobody asks behind its back

ASKING = {"getattr", "hasattr", "setattr", "vars"}
TERMS = {
    "term",
    "part",
    "loss",
    "cls",
    "controller",
    "knob",
    "first",
    "sampler",
    "advantage",
    "weight",
    "penalty",
    "scalar",
}
"""Names that a term goes by, or that leads to one."""


def questions(source: str, of_term: bool = False) -> Iterator[str]:
    """``getattr`` and its like on something that goes by the name of a term, and on ``self`` in the file of one."""
    names = TERMS | ({"self"} if of_term else set())
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ASKING and node.args:
            reached = [n for n in ast.walk(node.args[0]) if isinstance(n, ast.Name | ast.Attribute)]
            if names & {n.id if isinstance(n, ast.Name) else n.attr for n in reached}:
                yield ast.unparse(node)
        if (
            isinstance(node, ast.Attribute)
            and node.attr == "__dict__"
            and names & {*ast.unparse(node.value).split(".")}
        ):
            yield ast.unparse(node)


def test_no_code_outside_of_the_contract_asks_whether_a_term_has_a_member():
    files = {p for room in ("rl", "trainers", "entropostat", "reward") for p in (ROOT / room).rglob("*.py")}
    files -= {ROOT / "rl/term.py", ROOT / "rl/contract.py"}
    slots = {r.package.rpartition(".")[2] for r in REGISTRIES.values()}
    lines_of = {p: [*questions(p.read_text(encoding="utf-8"), p.parent.name in slots)] for p in files}
    assert len(files) > 250 and {path: lines for path, lines in lines_of.items() if lines} == {}


@pytest.mark.parametrize(
    "line",
    [
        *("getattr(part.term, 'x', 1)", "hasattr(cls, 'x')", "vars(self.objective.loss.term)", "term.__dict__['x']"),
        *("getattr(knob.controller, 'x')", "getattr(objective.advantages[0].term, 'x')"),
    ],
)
def test_such_a_question_is_found_in_whatever_way_it_is_put(line):
    assert [*questions(line)]
    assert not [*questions("getattr(batch, 'x')")] and not [*questions("getattr(self, 'x')")]


@dataclass(frozen=True)
class Plain(ScalarPenalty):
    def __call__(self, batch: Any) -> Any:
        return batch


def test_optional_members_have_the_value_of_the_contract():
    term = Plain()
    assert (term.kind, term.policy_term, term.scope, term.prepared, term.wanted) == (
        "scalar",
        False,
        "never",
        "never",
        None,
    )
