"""Drawn recipes, texts and overrides: nothing but a RecipeError, the same again from its dump, and what plan takes is trained."""

from __future__ import annotations

import json
import warnings
from collections import Counter
from pathlib import Path
from typing import Any
from unittest.mock import patch

from fuzz.budget import search
from fuzz.drawn import JUNK, OWN, TEXTS, places, recipes, value
from fuzz.known import described, excused
from hypothesis import strategies as st
from support.loading import GOOD, comes_back, outcome

from entropostat.cli.plan import plan
from entropostat.data.registry import SOURCES
from entropostat.recipe import Recipe
from entropostat.recipe.arithmetic import world_size
from entropostat.recipe.extends import RECIPES
from entropostat.rl.control import Control
from entropostat.yaml_text import dump


class Seen:
    """What came of the examples, so that a search which finds only faults of its own shows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.counts = folder, Counter[str]()

    def __call__(self, text: str, *overrides: str) -> Recipe | None:
        (self.folder / "x.yaml").write_text(text, encoding="utf-8", errors="surrogatepass")
        try:
            recipe, _ = outcome("x.yaml", overrides)
        except AssertionError:
            raise
        except Exception as error:
            if not excused(error):
                raise AssertionError(described(error)) from error
            self.counts["excused"] += 1
            return None
        self.counts["refused" if recipe is None else "taken"] += 1
        if recipe is not None and len(recipe.dump()) < 100_000:
            comes_back(recipe, self.folder / "run")
        return recipe

    def taken(self, least: float) -> None:
        print(dict(self.counts))
        assert self.counts["taken"] >= least * self.counts.total(), self.counts


def test_recipes_of_the_schema_load_or_are_refused_and_what_plan_takes_is_trained(folder: Path) -> None:
    seen = Seen(folder)

    def check(drawn: dict[str, Any]) -> None:
        recipe = seen(dump(drawn))
        if recipe is not None and not any(lint["level"] == "error" for lint in plan(recipe)["lints"]):
            seen.counts["built"] += 1
            try:
                build(recipe, folder)
            except Exception as error:
                if not excused(error):
                    raise AssertionError(f"plan takes it, and {described(error)}") from error
                seen.counts["excused"] += 1

    search(check, 500, recipes())
    seen.taken(least=0.15)


def build(recipe: Recipe, folder: Path) -> None:
    """What `train` makes before it reads data and weights."""
    from transformers import TrainingArguments

    from entropostat.trainers.run import training_config
    from entropostat.trainers.trl.config import GRPO, check_supported, configure
    from entropostat.trainers.trl.ppo_config import PPO

    # As each of its processes would: batch sizes count them.
    world = patch.object(TrainingArguments, "world_size", world_size(recipe))
    with warnings.catch_warnings(), world:
        warnings.simplefilter("ignore")
        config = training_config(recipe, folder)
        control = Control.build(recipe.objective)
        check_supported(control)
        configure(config, control, PPO if recipe.kind == "ppo" else GRPO)
        for term in (*recipe.sources.values(), *recipe.sets.values()):
            SOURCES.build(term.kind, term.options)


MARKS = [
    "{",
    "}",
    "[",
    "]",
    ": ",
    "- ",
    "? ",
    "&a ",
    "*a",
    "!x ",
    "|",
    ">",
    "'",
    '"',
    "#",
    "%",
    "@",
    ",",
    "\t",
    "\r",
    "\n",
    "~",
    "<<: ",
]
ODD = [
    "\0",
    "\x1b[31m",
    "\x85",
    "\u2028",
    "\ufeff",
    "\ud800",
    "\U0001f600",
    "\u202e",
    "9" * 400,
    "1e999",
    ".inf",
    "x" * 3000,
    "[" * 300,
]


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """Lines of a recipe of the project lost, doubled, exchanged, moved in, and characters in between."""
    lines = (RECIPES / draw(st.sampled_from(OWN))).read_text().splitlines(keepends=True)
    lines = [line.replace("../", "entropostat:") if line.startswith("extends: ../") else line for line in lines]
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(0, max(0, len(lines) - 1)))
        line = lines[place] if lines else ""
        how = draw(st.sampled_from(["lose", "double", "exchange", "indent", "mark", "mark", "cut", "value", "value"]))
        at = draw(st.integers(0, len(line)))
        if how == "exchange":
            other = draw(st.integers(0, max(0, len(lines) - 1)))
            lines[place : place + 1], lines[other : other + 1] = lines[other : other + 1], lines[place : place + 1]
        elif how == "value" and ": " in line:
            lines[place] = f"{line.partition(': ')[0]}: {json.dumps(draw(JUNK))}\n"
        else:
            mark = draw(st.sampled_from([*MARKS, *ODD]) | TEXTS)
            changed = {"lose": "", "double": 2 * line, "indent": f"  {line}", "cut": line[:at]}
            lines[place : place + 1] = [changed.get(how, line[:at] + mark + line[at:])]
    return "".join(lines)


def test_mutated_recipes_load_or_are_refused(folder: Path) -> None:
    seen = Seen(folder)
    search(lambda text: seen(text) and None, 500, mutated())
    seen.taken(least=0.1)


def test_any_text_loads_or_is_refused(folder: Path) -> None:
    pieces = st.sampled_from(
        [*MARKS, *ODD, " ", "  ", "a", "model", "name: x\n", "---\n", "...\n", "%YAML 1.1\n", "0x1", "=", GOOD]
    )
    seen = Seen(folder)
    search(lambda text: seen(text) and None, 400, st.text(max_size=60) | st.lists(pieces, max_size=12).map("".join))


PLACES = places()
PARTS = sorted({part for place in PLACES for part in place.split(".")})
ENDS = ["=", "", ".=", ".0=", ".-1=", ".+x=", ".-clip_cov=", ".99999999999="]


@st.composite
def overrides(draw: st.DrawFn) -> str:
    """Keys of the schema with values of their kind, and any keys with anything."""
    key = draw(st.sampled_from(sorted(PLACES)))
    if draw(st.booleans()):
        return f"{key}={json.dumps(draw(value(PLACES[key])), ensure_ascii=False)}"
    key = draw(st.just(key) | st.lists(TEXTS | st.sampled_from(PARTS), max_size=4).map(".".join))
    return f"{key}{draw(st.sampled_from(ENDS))}{draw(JUNK.map(json.dumps) | TEXTS | st.sampled_from([*MARKS, *ODD]))}"


def test_any_override_is_taken_or_refused(folder: Path) -> None:
    seen = Seen(folder)
    search(
        lambda drawn: seen("extends: good.yaml\n", *drawn) and None, 400, st.lists(overrides(), min_size=1, max_size=2)
    )
    seen.taken(least=0.05)
