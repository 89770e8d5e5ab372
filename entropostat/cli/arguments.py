"""Arguments that commands share, and their parser."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import Any, NoReturn

from entropostat.secrets import redacted
from entropostat.visible import visible

OVERRIDE = re.compile(r"[A-Za-z_][\w.+-]*=")


class Parser(argparse.ArgumentParser):
    """Takes overrides of a recipe out of the words, wherever they stand: argparse takes free words only in one piece."""

    def __init__(self, *args: Any, **given: Any) -> None:
        self.valued: set[str] = set()
        super().__init__(*args, **given)

    def add_argument(self, *args: Any, **given: Any) -> argparse.Action:
        action = super().add_argument(*args, **given)
        if action.nargs != 0:
            self.valued.update(action.option_strings)
        return action

    def error(self, message: str) -> NoReturn:
        super().error(visible(redacted(message, hashes=True)))

    def parse(self, words: Sequence[str]) -> argparse.Namespace:
        taken = self.overrides(words) if self.get_default("overrides") is not None else []
        args = self.parse_args([word for place, word in enumerate(words) if place not in taken])
        args.overrides = [words[place] for place in taken]
        return args

    def overrides(self, words: Sequence[str]) -> list[int]:
        """Places of ``key=value``, but for the value of an option, which may look like one: ``--grid seed=1,2``."""
        return [i for i, word in enumerate(words) if OVERRIDE.match(word) and not (i and words[i - 1] in self.valued)]


def recipe(parser: argparse.ArgumentParser, several: bool = False) -> None:
    parser.add_argument(
        "recipes",
        nargs="+",
        metavar="RECIPE [KEY=VALUE]",
        help=f"recipe file{'s' if several else ''} and overrides, such as objective.penalties.kl_ref.coef=.1",
    )
    parser.set_defaults(overrides=[])


def allow_code(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--allow-code", action="store_true", help="let verifiers call functions of yours")


def resume(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--resume", metavar="CHECKPOINT", help="a checkpoint folder, 'last', or 'auto': the last if there is one"
    )


def as_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print it for machines")


def one(args: argparse.Namespace) -> str:
    """The recipe of a command that takes one."""
    from entropostat.recipe.errors import COMMAND_LINE, Origin, fail

    if len(args.recipes) != 1:
        raise fail(Origin(COMMAND_LINE), "", f"{args.command} takes one recipe, not {len(args.recipes)}")
    return str(args.recipes[0])
