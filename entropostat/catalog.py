"""What a recipe may contain: every registered term and TRL's own config fields, as plain data.

``build`` reads it from the code, which imports torch and TRL. The result is committed as ``catalog.json``, so that
``load`` and everything built on it (schema, plan, methods) needs neither.
"""

from __future__ import annotations

import dataclasses
import enum
import inspect
import json
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from entropostat.faults import SetupError
from entropostat.rl.info import SLOTS
from entropostat.rl.needs import Condition, Need
from entropostat.rl.registry import PLUGIN_GROUP, REGISTRIES, Registry, TermError
from entropostat.rl.term import Advantage, BatchTerm, Loss, Term

FILE = Path(__file__).with_name("catalog.json")
LIMITS = ("low", "high", "above", "below")
SIMPLE: dict[Any, str] = {float: "float", int: "int", bool: "bool", str: "str", type(None): "null", Any: "any"}


@dataclass(frozen=True)
class FieldInfo:
    """One key of a term or of the trainer."""

    name: str
    type: str
    """``float``, ``int``, ``bool``, ``str``, ``null``, ``any``, ``list[...]``, ``dict`` and ``dict[float]``, joined by ``|``."""
    required: bool
    default: Any
    doc: str
    fixed: bool = True
    """False: a float that takes a controller as well as a number."""
    choices: tuple[str, ...] | None = None
    limits: Mapping[str, float] = dataclasses.field(default_factory=dict)
    """``low`` and ``high`` inclusive, ``above`` and ``below`` exclusive."""
    only: tuple[Condition, ...] = ()
    """Where the key has an effect; empty: everywhere."""


@dataclass(frozen=True)
class TermInfo:
    """One registered term."""

    slot: str
    name: str
    summary: str
    doc: str
    paper: str
    reference: str
    clock: str
    needs: tuple[Need, ...]
    rollout_needs: tuple[Need, ...]
    provides: Mapping[str, str]
    fields: tuple[FieldInfo, ...]
    tokenwise: bool = False
    """Advantages: the class attribute ``tokenwise`` says that the output is (B, T) and may change sign in a row."""
    reshapes: bool = False
    """Advantages: the class attribute ``reshapes`` says that the term changes the output of one before it."""
    compares: bool = True
    """Advantages: the class attribute ``compares`` says that groups of equal rewards teach nothing, if no option decides."""
    holds: str = "nothing"
    """Losses: the class attribute ``holds`` says what their bounds hold, if it does not depend on an option."""
    corrects_sampler: bool = False
    """The class attribute of that name: with ``sampler_logps``, the term carries the ratio of trainer to sampler."""

    def field(self, name: str) -> FieldInfo | None:
        return self._by_name.get(name)

    @cached_property
    def _by_name(self) -> dict[str, FieldInfo]:
        return {f.name: f for f in self.fields}


@dataclass(frozen=True)
class Catalog:
    """``terms[slot][name]``, with ``sources`` and ``verifiers`` as slots, and the fields of each trainer kind."""

    terms: Mapping[str, Mapping[str, TermInfo]]
    trainer: Mapping[str, tuple[FieldInfo, ...]]


def registries() -> dict[str, Registry[Any]]:
    """Every registry that a recipe draws on, by slot. Imports no term yet."""
    from entropostat.data.registry import SOURCES
    from entropostat.reward.registry import VERIFIERS

    return {**REGISTRIES, "sources": SOURCES, "verifiers": VERIFIERS}


def build(configs: Mapping[str, type[Any]]) -> Catalog:
    """Read the catalog from the code itself; ``configs`` are those of the trainer kinds, TRL's dataclasses."""
    return Catalog(terms(), {kind: _trainer(config) for kind, config in configs.items()})


def terms() -> dict[str, dict[str, TermInfo]]:
    """Every registered term, plug-ins' included."""
    return {
        slot: {name: _term(slot, name, registry[name]) for name in registry.names()}
        for slot, registry in registries().items()
    }


@lru_cache(maxsize=1)
def load() -> Catalog:
    """The committed catalog; where a plug-in adds terms, they are read from the code instead. Raises SetupError for one of
    them that is none."""
    committed = from_json(FILE.read_text(encoding="utf-8"))
    if not entry_points(group=PLUGIN_GROUP):
        return committed
    try:
        return replace(committed, terms=terms())
    except TermError as error:
        raise SetupError(str(error)) from error


def to_json(catalog: Catalog) -> str:
    return json.dumps(dataclasses.asdict(catalog), indent=1, sort_keys=True, ensure_ascii=False) + "\n"


def from_json(text: str) -> Catalog:
    data = json.loads(text)
    terms = {
        slot: {name: _read_term(entry) for name, entry in entries.items()} for slot, entries in data["terms"].items()
    }
    return Catalog(terms, {kind: tuple(map(_read_field, entries)) for kind, entries in data["trainer"].items()})


def _read_term(entry: dict[str, Any]) -> TermInfo:
    needs = {key: tuple(map(_read_need, entry[key])) for key in ("needs", "rollout_needs")}
    return TermInfo(**{**entry, **needs, "fields": tuple(map(_read_field, entry["fields"]))})


def _read_need(entry: dict[str, Any]) -> Need:
    return Need(tuple(entry["fields"]), _read_conditions(entry["conditions"]))


def _read_conditions(entries: list[dict[str, Any]]) -> tuple[Condition, ...]:
    return tuple(Condition(**entry) for entry in entries)


def _read_field(entry: dict[str, Any]) -> FieldInfo:
    choices = None if entry["choices"] is None else tuple(entry["choices"])
    return FieldInfo(**{**entry, "choices": choices, "only": _read_conditions(entry["only"])})


def _term(slot: str, name: str, cls: type[Term]) -> TermInfo:
    info = cls.info
    doc = inspect.getdoc(cls) or ""
    module = inspect.getdoc(inspect.getmodule(cls)) or ""
    hints = typing.get_type_hints(cls)
    fields = [_field(f, hints[f.name], slot) for f in dataclasses.fields(cls) if f.init]
    return TermInfo(
        slot=slot,
        name=name,
        summary=doc.partition("\n\n")[0].replace("\n", " "),
        doc=f"{module}\n\n{doc}".strip(),
        paper=info.paper,
        reference=info.reference,
        clock=info.clock,
        needs=info.needs,
        rollout_needs=info.rollout_needs,
        provides=dict(info.provides),
        fields=tuple(fields),
        tokenwise=issubclass(cls, Advantage) and cls.tokenwise,
        reshapes=issubclass(cls, Advantage) and cls.reshapes,
        compares=not issubclass(cls, Advantage) or inspect.getattr_static(cls, "compares") is not False,
        holds=holds if issubclass(cls, Loss) and isinstance(holds := cls.holds, str) else "nothing",
        corrects_sampler=issubclass(cls, BatchTerm) and cls.corrects_sampler,
    )


def _field(f: dataclasses.Field[Any], hint: Any, slot: str) -> FieldInfo:
    kind = spell(hint)
    return FieldInfo(
        name=f.name,
        type=kind,
        required=f.default is dataclasses.MISSING and f.default_factory is dataclasses.MISSING,
        default=_default(f),
        doc=f.metadata.get("doc", ""),
        fixed=slot not in SLOTS or "float" not in kind.split("|") or bool(f.metadata.get("fixed")),
        choices=f.metadata.get("choices") or _choices(hint),
        limits={key: f.metadata[key] for key in LIMITS if key in f.metadata},
        only=f.metadata.get("only", ()),
    )


def _trainer(config: type[Any]) -> tuple[FieldInfo, ...]:
    """TRL's own fields under their own names, without the deprecated ones."""
    hints = typing.get_type_hints(config)
    fields = []
    for f in dataclasses.fields(config):
        doc = " ".join(str(f.metadata.get("help", "")).split())
        if doc.lower().startswith("deprecated") or not f.init:
            continue
        choices = f.metadata.get("choices")
        names = tuple(str(choice) for choice in choices) if choices else _choices(hints[f.name])
        fields.append(
            FieldInfo(f.name, spell(hints[f.name]), False, _default(f), doc.split(". ")[0].rstrip("."), True, names)
        )
    return tuple(sorted(fields, key=lambda info: info.name))


def spell(hint: Any) -> str:
    """A type annotation in the small grammar of ``FieldInfo.type``; ``any`` for what YAML cannot be checked against."""
    if hint in SIMPLE:
        return SIMPLE[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        parts = list(dict.fromkeys(part for arg in args for part in spell(arg).split("|")))
        return "any" if "any" in parts else "|".join(parts)
    if origin is Literal:
        return "|".join(dict.fromkeys(SIMPLE[type(arg)] for arg in args))
    if origin in (list, tuple) or (inspect.isclass(origin) and issubclass(origin, typing.Sequence)):
        kinds = list(dict.fromkeys(spell(arg) for arg in args if arg is not Ellipsis))
        return f"list[{kinds[0]}]" if len(kinds) == 1 else "list[any]"
    if hint in (list, tuple):
        return "list[any]"
    if origin is dict and spell(args[1]) == "float":
        return "dict[float]"
    if hint is dict or (inspect.isclass(origin) and issubclass(origin, Mapping)):
        return "dict"
    if inspect.isclass(hint) and issubclass(hint, enum.Enum):
        return "str"
    return "any"


def _choices(hint: Any) -> tuple[str, ...] | None:
    if get_origin(hint) is Literal:
        return tuple(str(arg) for arg in get_args(hint))
    for kind in (hint, *get_args(hint)):
        if inspect.isclass(kind) and issubclass(kind, enum.Enum):
            return tuple(str(member.value) for member in kind)
    return None


def _default(f: dataclasses.Field[Any]) -> Any:
    """The default as JSON holds it."""
    value = f.default
    if f.default_factory is not dataclasses.MISSING:
        value = f.default_factory()
    if value is dataclasses.MISSING:
        return None
    return json.loads(json.dumps(value.value if isinstance(value, enum.Enum) else value))
