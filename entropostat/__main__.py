"""The command line. Every command is imported when it is called, so that ``--help`` costs nothing."""

from __future__ import annotations

import argparse
import os
import re
import sys
from collections.abc import Callable, Sequence

from entropostat import __version__

COMMANDS = {
    "train": "train a recipe, or several one after another",
    "launch": "start `train` on several processes by accelerate, with the recipe's strategy",
    "submit": "the same as a batch job on a Slurm cluster",
    "status": "how the jobs of `submit` are doing",
    "plan": "check a recipe, resolve it, and print what will run; imports no torch",
    "compare": "put finished runs side by side",
    "methods": "catalogue of all terms, or the page of one",
    "schema": "print the JSON Schema of recipes",
}
OVERRIDABLE = ("train", "launch", "submit", "plan")
OVERRIDE = re.compile(r"[A-Za-z_][\w.+-]*=")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the run or plan failed, 2 the recipe or the command line is wrong, 130 interrupted."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        return _unknown_command(words[0])
    # argparse takes free words only in one piece, and an override may stand anywhere.
    overridable = bool(words) and words[0] in OVERRIDABLE
    args = _parser().parse_args([word for word in words if not (overridable and OVERRIDE.match(word))])
    args.overrides = [word for word in words if OVERRIDE.match(word)]
    if args.command is None:
        _parser().print_help()
        return 0
    try:
        code = RUN[args.command](args)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        # The reader of a pipe such as `| head` is gone. Nothing may be written to it when Python shuts down either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        from entropostat.data.example import DataError
        from entropostat.recipe.errors import RecipeError, RunFault, SetupError, note_fault

        if not isinstance(error, (RecipeError, DataError, SetupError, RunFault)):
            raise
        # Mistakes of the user, told in lines that name the place and the fix: a traceback would bury them.
        note_fault(str(error))
        print(error, file=sys.stderr)
        return 1 if isinstance(error, RunFault) else 2


def _unknown_command(word: str) -> int:
    from entropostat.recipe.errors import nearest

    print(f"entropostat: unknown command {word!r}; {nearest(word, COMMANDS)}", file=sys.stderr)
    return 2


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="entropostat", description="A thermostat for policy entropy in RLHF and RLVR, on TRL."
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    made = {name: commands.add_parser(name, help=text, description=text) for name, text in COMMANDS.items()}
    for name in OVERRIDABLE:
        several = name == "train"
        made[name].add_argument(
            "recipes",
            nargs="+",
            metavar="RECIPE [KEY=VALUE]",
            help=f"recipe file{'s' if several else ''} and overrides, such as objective.penalties.kl_ref.coef=.1",
        )
    for name in ("train", "launch", "submit"):
        made[name].add_argument("--allow-code", action="store_true", help="let verifiers call functions of yours")
    for name in ("train", "launch"):
        made[name].add_argument(
            "--resume", metavar="CHECKPOINT", help="a checkpoint folder, 'last', or 'auto': the last if there is one"
        )
    made["launch"].add_argument("--dry-run", action="store_true", help="print the command and stop")
    made["submit"].add_argument("--dry-run", action="store_true", help="print the script and stop")
    made["submit"].add_argument(
        "--dependency", metavar="JOB", help="start after it ended well; or such as afterany:123"
    )
    made["submit"].add_argument("--array", metavar="SEEDS", help="one run for each seed, such as 0-4 or 1,5,7%%2")
    made["status"].add_argument("job", nargs="?", metavar="JOB", help="default: all that are in the queue")
    made["plan"].add_argument("--json", action="store_true", help="print it for machines")
    made["compare"].add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    made["compare"].add_argument("--png", metavar="FILE", help="also draw the curves")
    made["methods"].add_argument("name", nargs="?", metavar="NAME", help="a term; SLOT/NAME where two slots share it")
    made["methods"].add_argument("--write", metavar="FOLDER", help="write all pages as Markdown")
    made["schema"].add_argument("--write", action="store_true", help="write schema and catalog into the package")
    return parser


def _train(args: argparse.Namespace) -> int:
    from entropostat.train import run

    return run(args.recipes, args.overrides, args.allow_code, args.resume)


def _launch(args: argparse.Namespace) -> int:
    from entropostat.cli.launch import run

    return run(_one(args), args.overrides, args.allow_code, args.resume, args.dry_run)


def _submit(args: argparse.Namespace) -> int:
    from entropostat.cli.submit import run

    return run(_one(args), args.overrides, args.allow_code, args.dry_run, args.dependency, args.array)


def _status(args: argparse.Namespace) -> int:
    from entropostat.cli.status import run

    return run(args.job)


def _plan(args: argparse.Namespace) -> int:
    from entropostat.cli.plan import run

    return run(_one(args), args.overrides, args.json)


def _compare(args: argparse.Namespace) -> int:
    from entropostat.compare import run

    return run(args.runs, args.png)


def _methods(args: argparse.Namespace) -> int:
    from entropostat.cli.methods import run

    return run(args.name, args.write)


def _schema(args: argparse.Namespace) -> int:
    from entropostat.cli.schema import run

    return run(args.write)


def _one(args: argparse.Namespace) -> str:
    from entropostat.recipe.errors import COMMAND_LINE, Origin, fail

    if len(args.recipes) != 1:
        raise fail(Origin(COMMAND_LINE), "", f"{args.command} takes one recipe, not {len(args.recipes)}")
    return str(args.recipes[0])


RUN: dict[str, Callable[[argparse.Namespace], int]] = {
    "train": _train,
    "launch": _launch,
    "submit": _submit,
    "status": _status,
    "plan": _plan,
    "compare": _compare,
    "methods": _methods,
    "schema": _schema,
}

if __name__ == "__main__":
    sys.exit(main())
