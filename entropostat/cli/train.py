"""``entropostat train``: train a recipe, or several one after another."""

from __future__ import annotations

import argparse

from entropostat.cli import arguments


def add(parser: argparse.ArgumentParser) -> None:
    arguments.recipe(parser, several=True)
    arguments.allow_code(parser)
    arguments.resume(parser)


def run(args: argparse.Namespace) -> int:
    from entropostat.train import run as train

    return train(args.recipes, args.overrides, args.allow_code, args.resume)
