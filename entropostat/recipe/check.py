"""The resolved values of a recipe -> a ``Recipe``, or every problem at once."""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path as FilePath
from typing import Any

from entropostat.catalog import load
from entropostat.recipe.adapter import Adapter, AdapterError, of_model
from entropostat.recipe.block import Block
from entropostat.recipe.blocks import BLOCKS, Weights
from entropostat.recipe.errors import Origin, Problem, RecipeError, nearest, show
from entropostat.recipe.explain import Path, at, elsewhere, unknown_key, validate
from entropostat.recipe.foreign_code import unknown_attention
from entropostat.recipe.foreign_keys import foreign
from entropostat.recipe.forms import trainer_form
from entropostat.recipe.generation_rules import backend, given, refusal
from entropostat.recipe.held_secrets import held_secrets
from entropostat.recipe.mixing import mixture_problems, where_problems
from entropostat.recipe.owned import FORMER, NOT_IN_TRAINER, OWNED, REFUSED
from entropostat.recipe.recipe import Recipe
from entropostat.recipe.reward_sources import check_sources
from entropostat.recipe.rewards import check_reward, rewarded
from entropostat.recipe.source import Value
from entropostat.recipe.terms import Term, one_term, term_list
from entropostat.recipe.trainer_rules import broken
from entropostat.rl.info import SLOTS

ROOT = (
    "name",
    "output_dir",
    "seed",
    "model",
    "teacher",
    "data",
    "reward",
    "shaping",
    "objective",
    "trainer",
    "critic",
    "optimizer",
    "sampler",
    "evaluate",
    "faults",
    "launch",
    "slurm",
    "tracking",
)
"""Blocks in the order in which a resolved recipe is written."""
NOTHING = Value(None, Origin("nowhere"))
LONGEST_NAME, LONGEST_PATH = 200, 3000
"""Bytes of the run's name and of the folder of runs: with what is appended to them, file systems take 255 and 4096."""


def check(root: Value, path: FilePath) -> Recipe:
    """Raises ``RecipeError`` with all problems, in the order of the file."""
    problems: list[Problem] = list(held_secrets(root))
    if problems:
        raise RecipeError(problems)
    assert isinstance(root.content, dict)
    for key, value in root.content.items():
        if key not in ROOT:
            problems.append(Problem(value.origin, key, _unknown_root(key, value)))
    parts: dict[str, Any] = {name: _block(root, name, form, problems) for name, form in BLOCKS.items()}
    parts |= {"seed": _seed(root, problems), "output_dir": _text(root, "output_dir", "runs", problems)}
    parts |= {"name": _text(root, "name", path.stem, problems), "trainer": _trainer(root, parts["model"], problems)}
    parts["objective"] = _objective(root, problems)
    parts["reward"] = check_reward(_child(root, "reward"), problems, needed=rewarded(parts["objective"]))
    _model(root, parts["model"], problems)
    if parts["teacher"] is not None and _child(root, "teacher").content:
        _weights(root, "teacher", parts["teacher"], problems)
    _data(root, parts, problems)
    if parts["reward"]:
        named = [at(_child(root, block), (key,)) for block, key in (("data", "sources"), ("evaluate", "sets"))]
        problems += check_sources(_child(root, "reward"), parts["reward"], *named)
    parts["evaluate"] = _evaluate(root, parts["evaluate"], problems)
    if problems:
        raise RecipeError(problems)
    plain = {**root.plain, **{key: parts[key] for key in ("name", "output_dir", "seed")}}
    resolved = {key: plain[key] for key in ROOT if key in plain}
    return Recipe(**parts, resolved=resolved, path=path)


def _child(root: Value, key: str) -> Value:
    """The value of ``key``; an absent or null block is an empty one."""
    assert isinstance(root.content, dict)
    value = root.content.get(key)
    return Value({}, root.origin) if value is None else Value({}, value.origin) if value.content is None else value


def _unknown_root(key: str, value: Value) -> str:
    if key in REFUSED:
        return f"cannot be set (value {show(value.plain, key)}): {REFUSED[key]}"
    slot = f"use objective.{key}" if key in SLOTS else None
    former = f"use {FORMER[key]}" if key in FORMER else None
    hint = elsewhere(key) or slot or foreign(key) or former or nearest(key, (*ROOT, "extends"))
    return f"unknown key {show(key)} (value {show(value.plain, key)}); {hint}"


def _block(root: Value, name: str, form: type[Block], problems: list[Problem]) -> Any:
    if name in ("model", "data") and not _child(root, name).content:
        problems.append(Problem(root.origin, name, f"missing; it says: {(form.__doc__ or '').strip()}"))
        return None
    return validate(form, _child(root, name), (name,), problems)


def _seed(root: Value, problems: list[Problem]) -> int:
    assert isinstance(root.content, dict)
    value = root.content.get("seed")
    if value is None or value.content is None:
        return 0
    if isinstance(value.content, bool) or not isinstance(value.content, int) or not 0 <= value.content < 2**32:
        message = f"must be a whole number from 0 to 4294967295, not {show(value.plain)}"
        problems.append(Problem(value.origin, "seed", message))
        return 0
    return value.content


def _text(root: Value, key: str, default: str, problems: list[Problem]) -> str:
    assert isinstance(root.content, dict)
    value = root.content.get(key)
    if value is None or value.content is None:
        return default
    if not isinstance(value.content, str) or not value.content:
        problems.append(Problem(value.origin, key, f"must be text, not {show(value.plain)}"))
        return default
    if (wrong := _unusable_name(value.content) if key == "name" else _unusable_folder(value.content)) is not None:
        problems.append(Problem(value.origin, key, f"{show(value.content)} {wrong}"))
    return value.content


def _unusable_name(text: str) -> str | None:
    if not re.fullmatch(r"[\w.+=-]+", text):
        return "names a folder: use letters, digits and . _ + = - only"
    if text in (".", ".."):
        return "names a folder: this one is another's"
    size = len(text.encode("utf-8", "surrogatepass"))
    return None if size <= LONGEST_NAME else f"names a folder: at most {LONGEST_NAME} bytes, not {size}"


def _unusable_folder(text: str) -> str | None:
    if not text.isprintable():  # also what no file system takes: NUL, and halves of a character
        return "is no path: it has characters that cannot be printed"
    longest = max(len(part.encode()) for part in text.split("/"))
    if longest > 255 or len(text.encode()) > LONGEST_PATH:
        return f"is no path: at most {LONGEST_PATH} bytes, and 255 from one / to the next"
    return None


def _trainer(root: Value, model: Any, problems: list[Problem]) -> dict[str, Any]:
    block = _child(root, "trainer")
    kind = at(block, ("kind",)).content
    kind = kind if isinstance(kind, str) and kind in load().trainer else "grpo"
    if at(block, ("optim",)).content == "muon":
        message = "must be one of torch's or a library's, not 'muon'; use optimizer.muon"
        problems.append(Problem(at(block, ("optim",)).origin, "trainer.optim", message))
        return {}
    form = validate(trainer_form(kind, NOT_IN_TRAINER), block, ("trainer",), problems, _unknown_trainer)
    if form is None:
        return {}
    fields: dict[str, Any] = form.model_dump(exclude_unset=True)
    tracking, bf16 = _child(root, "tracking").content, model is not None and model.dtype == "bfloat16"
    trackio = isinstance(tracking, dict) and "trackio" in tracking
    for key, message in broken(fields, partial(getattr, form), bf16, trackio):
        problems.append(Problem(at(block, (key,)).origin, f"trainer.{key}", message))
    for name, value in given(fields.get("generation_kwargs")).items():
        if (said := refusal(name, value, backend(fields))) is not None:
            path = ("generation_kwargs", name)
            problems.append(Problem(at(block, path).origin, ".".join(("trainer", *path)), said))
    return fields


def _unknown_trainer(path: Path, key: str, value: Value, known: Any) -> str:
    if key in OWNED:
        return f"belongs to another block (value {show(value.plain, key)}); use {OWNED[key]}"
    if key in REFUSED:
        return f"cannot be set (value {show(value.plain, key)}): {REFUSED[key]}"
    if key in FORMER:
        return f"was an option of TRL's PPOTrainer (value {show(value.plain, key)}); use {FORMER[key]}"
    return unknown_key(path, key, value, known)


def _objective(root: Value, problems: list[Problem]) -> dict[str, Any]:
    """All slots; without them plain GRPO on TRL's own loss, and without a policy loss no advantages."""
    block = _child(root, "objective")
    slots: dict[str, Any] = {slot: [] for slot in SLOTS}
    slots |= {"advantages": [Term("grpo", "grpo", {})], "loss": Term("trl", "trl", {})}
    if not isinstance(block.content, dict):
        problems.append(Problem(block.origin, "objective", f"must be a mapping, not {show(block.plain)}"))
        return slots
    names: dict[str, str] = {}
    for slot, value in block.content.items():
        path = ("objective", slot)
        if slot not in SLOTS:
            problems.append(Problem(value.origin, ".".join(path), unknown_key(path, slot, value, SLOTS)))
        elif value.content is not None:
            terms = term_list(value, slot, path, problems) if slot != "loss" else one_term(value, slot, path, problems)
            without_loss = isinstance(loss := at(block, ("loss",)).content, dict) and set(loss) == {"none"}
            if terms == [] and slot == "advantages" and not value.content and not without_loss:
                problems.append(
                    Problem(value.origin, "objective.advantages", "is empty; begin with one, such as '- grpo: {}'")
                )
            slots[slot] = slots[slot] if terms is None else terms
            for term in terms if isinstance(terms, list) else filter(None, [terms]):
                if names.setdefault(term.name, slot) != slot:
                    message = f"objective.{names[term.name]} has a {term.name!r} too; give one its own 'name:'"
                    problems.append(Problem(value.origin, f"objective.{slot}.{term.name}", message))
    if slots["loss"].kind == "none" and block.content.get("advantages", NOTHING).content is None:
        slots["advantages"] = []
    return slots


def _model(root: Value, model: Any, problems: list[Problem]) -> None:
    if model is None or _weights(root, "model", model, problems) is None or model.peft is None:
        return
    message = (
        f"{model.path} is an adapter already, which goes on being trained; leave model.peft out, or merge the "
        "adapter into its base and give the whole model"
    )
    problems.append(Problem(at(_child(root, "model"), ("peft",)).origin, "model.peft", message))


def _weights(root: Value, name: str, model: Weights, problems: list[Problem]) -> Adapter | None:
    """What is wrong with the weights that a block names; the adapter, if they are one."""
    block = _child(root, name)
    if len(model.stated) != 1:
        message = f"give exactly one of path, build and package, not {' and '.join(model.stated) or 'none'}"
        problems.append(Problem(block.origin, name, message))
    if model.attn_implementation is not None and (said := unknown_attention(model.attn_implementation)) is not None:
        message = f"{said}, not {show(model.attn_implementation)}"
        problems.append(Problem(at(block, ("attn_implementation",)).origin, f"{name}.attn_implementation", message))
    if model.build and model.build.hidden % model.build.heads:
        message = f"must be a multiple of {name}.build.heads ({model.build.heads}), not {model.build.hidden}"
        problems.append(Problem(at(block, ("build", "hidden")).origin, f"{name}.build.hidden", message))
    if model.path is not None and (wrong := _unusable_folder(model.path)) is not None:
        problems.append(Problem(at(block, ("path",)).origin, f"{name}.path", f"{show(model.path)} {wrong}"))
        return None
    try:
        return of_model(model)
    except AdapterError as error:
        problems.append(Problem(at(block, ("path",)).origin, f"{name}.path", str(error)))
        return None


def _data(root: Value, parts: dict[str, Any], problems: list[Problem]) -> None:
    data = parts["data"]
    if data is None:
        return
    block = _child(root, "data")
    sources = at(block, ("sources",))
    if not data.sources:
        problems.append(Problem(sources.origin, "data.sources", "is empty; name at least one source"))
    parts["data"] = data.model_copy(update={"sources": _sources(sources, ("data", "sources"), problems)})
    problems += mixture_problems(block, data)


def _sources(value: Value, path: Path, problems: list[Problem]) -> dict[str, dict[str, Any]]:
    named: dict[str, dict[str, Any]] = {}
    for name, item in value.content.items() if isinstance(value.content, dict) else ():
        term = one_term(item, "sources", (*path, name), problems)
        if term is not None:
            named[name] = {term.kind: term.options}
            problems += where_problems(item, term, (*path, name))
    return named


def _evaluate(root: Value, evaluate: Any, problems: list[Problem]) -> Any:
    if evaluate is None:
        return None
    block = _child(root, "evaluate")
    for index, k in enumerate(evaluate.k):
        if not 1 <= k <= evaluate.samples:
            place = at(block, ("k", str(index)))
            message = f"must lie between 1 and evaluate.samples ({evaluate.samples}), not {k}"
            problems.append(Problem(place.origin, f"evaluate.k.{index}", message))
    sets = _sources(at(block, ("sets",)), ("evaluate", "sets"), problems) if evaluate.sets else {}
    return evaluate.model_copy(update={"sets": sets})
