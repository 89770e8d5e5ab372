"""The JSON Schema of recipe files, for editors: composed from the same pydantic models that check them.

A file may state a part of a recipe, so no key is required here; what is missing shows when the files are merged.
"""

from __future__ import annotations

import json
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from entropostat.catalog import load
from entropostat.recipe.blocks import BLOCKS, BuildReward
from entropostat.recipe.forms import term_form, trainer_form
from entropostat.recipe.owned import NOT_IN_TRAINER
from entropostat.rl.info import SLOTS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Schema = dict[str, Any]


def schema() -> Schema:
    """For one recipe file."""
    slots = {slot: {n: term_form(info) for n, info in terms.items()} for slot, terms in load().terms.items()}
    trainers = {kind: trainer_form(kind, NOT_IN_TRAINER) for kind in load().trainer}
    forms: list[type[BaseModel]] = [*BLOCKS.values(), *trainers.values(), BuildReward]
    forms += [form for terms in slots.values() for form in terms.values()]
    refs, defs = models_json_schema([(form, "validation") for form in forms], ref_template="#/$defs/{model}")
    ref = {form: dict(refs[form, "validation"]) for form in forms}

    blocks: Schema = {name: _nullable(ref[form]) for name, form in BLOCKS.items()}
    kinds = {slot: {name: ref[form] for name, form in terms.items()} for slot, terms in slots.items()}
    _put_sources(defs["$defs"], kinds["sources"])
    _put_where(defs["$defs"], kinds["sources"])
    model = kinds["verifiers"]["model"]["$ref"].rpartition("/")[2]
    defs["$defs"][model]["properties"]["build"] |= _nullable(ref[BuildReward])
    objective = {slot: _terms(kinds[slot], slot) for slot in SLOTS if slot != "loss"}
    objective["loss"] = _one(kinds["loss"])
    text = {"type": "string", "minLength": 1}
    properties: Schema = {
        "extends": {
            "description": "recipes that this one changes, relative to this file or entropostat:base/grpo.yaml",
            "anyOf": [text, {"type": "array", "items": text}],
        },
        "name": {**text, "description": "name of the run; its folder is <output_dir>/<name>"},
        "output_dir": {**text, "description": "folder of the runs"},
        "seed": {"type": "integer", "minimum": 0, "maximum": 2**32 - 1, "description": "of everything random"},
        **blocks,
        "reward": _terms(kinds["verifiers"], "verifiers"),
        "objective": {"type": "object", "additionalProperties": False, "properties": objective},
        "trainer": {"anyOf": [ref[form] for form in trainers.values()]},
    }
    return {
        "$schema": DIALECT,
        "title": "entropostat recipe",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": {name: _optional(definition) for name, definition in sorted(defs["$defs"].items())},
    }


def to_json() -> str:
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def _nullable(item: Schema) -> Schema:
    return {"anyOf": [item, {"type": "null"}]}


def _one(kinds: dict[str, Schema]) -> Schema:
    """A mapping of exactly one key, which names the kind."""
    return {
        "type": "object",
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
        "properties": {name: _nullable(item) for name, item in kinds.items()},
    }


def _terms(kinds: dict[str, Schema], slot: str) -> Schema:
    """A list of terms, or a mapping that edits the parent's list."""
    edits: Schema = {"edit": {"type": "object", "description": "name of a term -> its changed keys"}}
    edits["edit"] |= {"properties": dict(kinds), "additionalProperties": {"type": "object"}}
    edits |= {f"+{name}": _nullable(item) for name, item in kinds.items()}
    removal = {"^-": {"type": "null", "description": "removes the term of that name"}}
    mapping = {"type": "object", "additionalProperties": False, "properties": edits, "patternProperties": removal}
    return {"description": f"{slot}, addressed by name", "anyOf": [{"type": "array", "items": _one(kinds)}, mapping]}


def _put_sources(defs: Schema, kinds: dict[str, Schema]) -> None:
    """``data.sources`` and ``evaluate.sets`` hold one-key mappings, which the blocks leave open."""
    for block, key in (("Data", "sources"), ("Evaluate", "sets")):
        defs[block]["properties"][key]["additionalProperties"] = _one(kinds)


def _put_where(defs: Schema, kinds: dict[str, Schema]) -> None:
    """Conditions on columns, which the forms of the sources leave open."""
    plain: Schema = {"type": ["string", "number", "boolean", "null"]}
    listed: Schema = {"type": "array", "minItems": 1, "items": plain}
    more: Schema = {"min": {"type": "number"}, "max": {"type": "number"}, "missing": {"type": "boolean"}}
    more["not"] = {"anyOf": [plain, listed]}
    ranged: Schema = {"type": "object", "minProperties": 1, "additionalProperties": False, "properties": more}
    for kind in kinds.values():
        properties = defs[kind["$ref"].rpartition("/")[2]]["properties"]
        if "where" in properties:
            properties["where"]["additionalProperties"] = {"anyOf": [plain, listed, ranged]}


def _optional(definition: Schema) -> Schema:
    return {key: value for key, value in definition.items() if key != "required"}
