"""``entropostat compare``: put finished runs side by side."""

from __future__ import annotations

import argparse

from entropostat.cli import arguments


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="+", metavar="RUN", help="run folder, or a log of another trainer")
    parser.add_argument("--png", metavar="FILE", help="also draw the curves")
    arguments.as_json(parser)
    parser.add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with 1 unless it holds: 'hard/pass@1 >= 0.8', or 'hard/pass@1 > first'",
    )


def run(args: argparse.Namespace) -> int:
    from entropostat.compare.table import run as compare

    return compare(args.runs, args.png, args.require, args.json)
