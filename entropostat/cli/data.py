"""``entropostat data``: what the policy is asked, how its verifiers read the answers, what was dropped and why; loads no weights."""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from entropostat.cli import arguments
from entropostat.cli.data_text import text
from entropostat.data.dataset import Table
from entropostat.data.dropped import WORDS
from entropostat.data.example import Example, Prompt
from entropostat.data.lengths import Lengths
from entropostat.data.prepare import Lengths as Counted
from entropostat.data.sample import spread
from entropostat.data.survey import survey, survey_set
from entropostat.recipe import Recipe, load
from entropostat.recipe.arithmetic import trainer_value
from entropostat.recipe.prompts import first_asked, loaded, prepare_prompts
from entropostat.secrets import redacted
from entropostat.visible import visible

FIRST = 2
"""Prompts that are shown."""
MEASURED = 20_000
"""Prompts of a run whose length is measured, evenly over all."""


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser)
    arguments.as_json(parser)
    arguments.allow_code(parser)
    parser.add_argument(
        "--verl", metavar="FOLDER", type=Path, help="write the prompts there as verl reads them, instead"
    )
    parser.add_argument("-n", "--prompts", metavar="N", type=_count, default=FIRST, help=f"prompts to show; {FIRST}")


def run(args: argparse.Namespace) -> int:
    """1 where `train` would refuse the references."""
    recipe = load(arguments.one(args), args.overrides)
    if args.verl is not None:
        return write_rows(recipe, args.verl, args.json)
    found = data(recipe, args.prompts, args.allow_code)
    print(json.dumps(found, indent=2) if args.json else "\n".join(text(found)))
    return 1 if found["references"]["problem"] else 0


def write_rows(recipe: Recipe, folder: Path, as_json: bool) -> int:
    """For ``plan --engine verl``, in the order of training."""
    from entropostat.verl.rows import write

    rows = {str(file): count for file, count in write(recipe, folder, _lengths(recipe)).items()}
    print(
        json.dumps(rows, indent=2) if as_json else "\n".join(visible(f"{file}: {n:,} rows") for file, n in rows.items())
    )
    return 0


def data(recipe: Recipe, first: int = FIRST, allow_code: bool = False) -> dict[str, Any]:
    """Everything that the command prints, as plain data."""
    with tempfile.TemporaryDirectory() as folder:
        return _told(recipe, prepare_prompts(recipe, Path(folder), _lengths(recipe)), first, allow_code)


def _told(recipe: Recipe, table: Table, first: int, allow_code: bool) -> dict[str, Any]:
    counted = survey(loaded(table), table.train, table.held_out, table.sets)
    return {
        "name": recipe.name,
        "sources": [
            {
                "source": lost.source,
                "train": lost.train,
                "held_out": lost.held_out,
                **asdict(counted[lost.source]),
                "rows": lost.read,
                "dropped": [{"why": WORDS[why], "rows": count} for why, count in lost.reasons.items()],
            }
            for lost in table.dropped
        ],
        "sets": [{"set": name, **asdict(survey_set(rows))} for name, rows in table.sets.items()],
        "references": references(recipe, table, allow_code),
        "prompts": asked(recipe, table, first),
    }


def references(recipe: Recipe, table: Table, allow_code: bool) -> dict[str, Any]:
    """How the verifiers read the answers, tried as before a run."""
    from entropostat.recipe.references import examine
    from entropostat.reward.references import missing
    from entropostat.reward.registry import VERIFIERS
    from entropostat.reward.scoring import Scorer

    told: dict[str, Any] = {"unread": recipe.data.unread, "problem": None, "notes": [], "readings": []}
    if recipe.data.unread is None:
        told["notes"].append("not looked at: data.unread is null")
        return told
    verifiers = {term.name: VERIFIERS.build(term.kind, term.options) for term in recipe.reward}
    for name, verifier in list(verifiers.items()):
        if verifier.user_code is not None and not allow_code:
            told["notes"].append(f"{name} is your own code ({verifier.user_code}), and called with --allow-code only")
            del verifiers[name]
    scorer = Scorer(verifiers, allow_code=allow_code)
    try:
        for name, why in missing(scorer):
            told["notes"].append(f"{name} cannot be tried: {redacted(why)}")
            del scorer.verifiers[name]
        found = examine(recipe, scorer, loaded(table), table.sets)
    finally:
        scorer.close()
    told["problem"] = None if found.problem is None else redacted(found.problem)
    told["notes"] += [redacted(line) for line in (*found.silent, *(doubt.line() for doubt in found.doubts))]
    told["readings"] = [
        {
            **{key: value for key, value in asdict(reading).items() if key != "examples"},
            "line": redacted(reading.line()),
            "examples": [redacted(f"{example.id}: {example}") for example in reading.examples],
        }
        for reading in found.readings
    ]
    return told


def asked(recipe: Recipe, table: Table, first: int) -> dict[str, Any]:
    """Prompts as the policy sees them: their lengths, and the first of a run."""
    chosen = first_asked(recipe, table, first)
    pool = [example for rows in table.train.values() for example in rows]
    sample = spread(pool, MEASURED)
    told: dict[str, Any] = {
        "train": len(pool),
        "why": None,
        "lengths": None,
        "limits": [],
        "first": [
            {
                "source": example.source,
                "id": example.id,
                "answer": _hidden(example.answer),
                "tokens": None,
                "text": None,
            }
            for example in chosen
        ],
    }
    try:
        tokenizer, ids = _tokenized(recipe, [example.prompt for example in (*chosen, *sample)])
    except (OSError, ValueError, ImportError, LookupError, TypeError) as error:
        told["why"] = redacted(" ".join(str(error).split()) or type(error).__name__)
        for entry, example in zip(told["first"], chosen, strict=True):
            entry["text"] = _hidden(_plain(example))
        return told
    for entry, row in zip(told["first"], ids, strict=False):
        entry |= {"tokens": len(row), "text": redacted(tokenizer.decode(row, skip_special_tokens=False))}
    lengths = [len(row) for row in ids[len(chosen) :]]
    told["lengths"] = asdict(Lengths.of(lengths)) | {"lines": Lengths.of(lengths).lines()}
    told["limits"] = [
        {"key": key, "tokens": most, "over": sum(length > most for length in lengths) / len(lengths)}
        for key, most in limits(recipe)
    ]
    return told


def _tokenized(recipe: Recipe, prompts: Sequence[Prompt]) -> tuple[Any, list[list[int]]]:
    from entropostat.trainers.build.recipe_tokenizer import find_tokenizer
    from entropostat.trainers.trl.asked import token_ids

    tokenizer = find_tokenizer(recipe)
    return tokenizer, token_ids(list(prompts), tokenizer, trainer_value(recipe, "chat_template_kwargs"))


def _lengths(recipe: Recipe) -> Counted:
    """Tokens of each prompt, for ``data.max_prompt_tokens``."""
    return lambda prompts: [len(row) for row in _tokenized(recipe, prompts)[1]]


def limits(recipe: Recipe) -> list[tuple[str, int]]:
    """(what sets it, tokens that it leaves for a prompt)."""
    from entropostat.trainers.build.recipe_tokenizer import positions

    room = trainer_value(recipe, "max_completion_length") or 0
    named = [("the model's positions", positions(recipe))]
    if trainer_value(recipe, "use_vllm"):
        named.append(("trainer.vllm_max_model_length", trainer_value(recipe, "vllm_max_model_length")))
    return [(f"{key} - trainer.max_completion_length ({room:,})", most - room) for key, most in named if most]


def _plain(example: Example) -> str:
    """A prompt that no chat template could be applied to."""
    prompt = example.prompt
    return prompt if isinstance(prompt, str) else "\n".join(f"{m['role']}: {m['content']}" for m in prompt)


def _hidden(value: str | None) -> str | None:
    return None if value is None else redacted(value)


def _count(value: str) -> int:
    if not value.isdecimal() or int(value) > 1000:
        raise argparse.ArgumentTypeError(f"{value!r} is no number of prompts; write one from 0 to 1000")
    return int(value)
