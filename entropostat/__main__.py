"""The command line. Every command is imported when it is called, so that ``--help`` costs nothing."""

from __future__ import annotations

import argparse
import io
import os
import re
import sys
from collections.abc import Callable, Sequence
from typing import NoReturn

from entropostat import __version__
from entropostat.visible import lines, visible

COMMANDS = {
    "train": "train a recipe, or several one after another",
    "launch": "start `train` on several processes by accelerate, with the recipe's strategy",
    "submit": "the same as a batch job on a Slurm cluster",
    "status": "how the jobs of `submit` are doing",
    "plan": "check a recipe, resolve it, and print what will run; imports no torch",
    "compare": "put finished runs side by side",
    "sweep": "train a grid over a recipe's keys, times seeds, and compare",
    "report": "runs as one HTML file with charts, recipes and completions; --watch serves it live",
    "diagnose": "what is wrong with a run, since when, what did it, and what to change",
    "methods": "catalogue of all terms, or the page of one",
    "schema": "print the JSON Schema of recipes",
    "dashboard": "wandb's workspace for a recipe or project, and what every metric is",
}
OVERRIDABLE = ("train", "launch", "submit", "plan", "sweep")
OVERRIDE = re.compile(r"[A-Za-z_][\w.+-]*=")


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the run or plan failed, 2 the recipe or the command line is wrong, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode gets escapes instead of a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    if words and not words[0].startswith("-") and words[0] not in COMMANDS:
        return _unknown_command(words[0])
    # argparse takes free words only in one piece, and an override may stand anywhere.
    overrides = _overrides(words) if words and words[0] in OVERRIDABLE else []
    args = _parser().parse_args([word for place, word in enumerate(words) if place not in overrides])
    args.overrides = [words[place] for place in overrides]
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
        told = "\n".join(map(visible, map(str, error.problems))) if isinstance(error, RecipeError) else lines(error)
        note_fault(told)
        print(told, file=sys.stderr)
        return 1 if isinstance(error, RunFault) else 2


def _overrides(words: Sequence[str]) -> list[int]:
    """Places of the overrides: ``key=value``, but for the value of ``--grid``, which looks like one."""
    return [i for i, word in enumerate(words) if OVERRIDE.match(word) and (i == 0 or words[i - 1] != "--grid")]


def _unknown_command(word: str) -> int:
    from entropostat.recipe.errors import nearest

    print(visible(f"entropostat: unknown command {word!r}; {nearest(word, COMMANDS)}"), file=sys.stderr)
    return 2


class Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        super().error(visible(message))


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="entropostat", description="A thermostat for policy entropy in RLHF and RLVR, on TRL.")
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
    for name in ("train", "launch", "submit", "sweep"):
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
    made["submit"].add_argument(
        "--tasks",
        metavar="FILE",
        help="one run for each line of FILE, which holds overrides; --array then counts lines",
    )
    made["status"].add_argument("job", nargs="?", metavar="JOB", help="default: all that are in the queue")
    made["plan"].add_argument("--json", action="store_true", help="print it for machines")
    made["plan"].add_argument("--scaling", action="store_true", help="memory and traffic of every strategy instead")
    made["plan"].add_argument(
        "--shape", metavar="NAME", help="sizes of the model for the estimate: a config.json, or such as llama-3-70b"
    )
    made["plan"].add_argument("--gpu-memory", metavar="GIB", help="the same as launch.gpu_memory=GIB")
    made["plan"].add_argument(
        "--bandwidth", metavar="IN,BETWEEN", help="GB/s of a GPU inside a machine and between machines"
    )
    made["compare"].add_argument("runs", nargs="+", metavar="RUN", help="run folder")
    made["compare"].add_argument("--png", metavar="FILE", help="also draw the curves")
    made["compare"].add_argument("--json", action="store_true", help="print it for machines")
    made["compare"].add_argument(
        "--require",
        action="append",
        default=[],
        metavar="CONDITION",
        help="exit with 1 unless it holds: 'hard/pass@1 >= 0.8', or 'hard/pass@1 > first'",
    )
    made["sweep"].add_argument(
        "--grid", action="append", default=[], metavar="KEY=V,V", help="an axis of the grid; may come several times"
    )
    made["sweep"].add_argument("--seeds", metavar="SEEDS", help="such as 0-4 or 1,5,7; default: the recipe's")
    made["sweep"].add_argument("--jobs", type=int, metavar="N", help="runs at a time; default: one for each core, or 1")
    made["sweep"].add_argument("--dry-run", action="store_true", help="print the runs and stop")
    made["sweep"].add_argument("--slurm", action="store_true", help="as a job array instead of on this machine")
    made["report"].add_argument(
        "runs", nargs="+", metavar="RUN", help="run folder, wandb's .wandb file or trackio's .db"
    )
    made["report"].add_argument("--out", metavar="FILE", help="default: report.html beside the runs")
    made["report"].add_argument("--watch", action="store_true", help="serve it on 127.0.0.1 and follow the runs")
    made["report"].add_argument("--port", type=int, default=0, metavar="N", help="of --watch; default: a free one")
    made["diagnose"].add_argument("run", metavar="RUN", help="run folder")
    made["diagnose"].add_argument("--json", action="store_true", help="print it for machines")
    made["diagnose"].add_argument("--live", choices=("on", "off"), default="off", help="on: follow a run that goes on")
    made["methods"].add_argument("name", nargs="?", metavar="NAME", help="a term; SLOT/NAME where two slots share it")
    made["methods"].add_argument("--write", metavar="FOLDER", help="write all pages as Markdown")
    made["schema"].add_argument("--write", action="store_true", help="write schema and catalog into the package")
    _dashboards(made["dashboard"])
    return parser


def _dashboards(parser: argparse.ArgumentParser) -> None:
    kinds = parser.add_subparsers(dest="kind", metavar="KIND", required=True)
    wandb = kinds.add_parser("wandb", help="create or update the workspace online, or write it to a file")
    wandb.add_argument("subject", metavar="RECIPE|PROJECT", help="recipe file, or [entity/]project")
    wandb.add_argument("--entity", metavar="NAME", help="team or user; default: the recipe's, or that of the key")
    wandb.add_argument("--offline", metavar="FILE", help="write its JSON and stay offline")
    metrics = kinds.add_parser("metrics", help="every metric: unit and meaning")
    metrics.add_argument("--json", action="store_true", help="print it for machines")
    metrics.add_argument("--write", metavar="FILE", help="bring the tables of a page up to date")


def _train(args: argparse.Namespace) -> int:
    from entropostat.train import run

    return run(args.recipes, args.overrides, args.allow_code, args.resume)


def _launch(args: argparse.Namespace) -> int:
    from entropostat.cli.launch import run

    return run(_one(args), args.overrides, args.allow_code, args.resume, args.dry_run)


def _submit(args: argparse.Namespace) -> int:
    from entropostat.cli.submit import submit

    settings = (args.allow_code, args.dry_run, args.dependency, args.array, args.tasks)
    return submit(_one(args), args.overrides, *settings)[0]


def _status(args: argparse.Namespace) -> int:
    from entropostat.cli.status import run

    return run(args.job)


def _plan(args: argparse.Namespace) -> int:
    from entropostat.cli.plan import run
    from entropostat.scaling.report import Asked

    memory = [f"launch.gpu_memory={args.gpu_memory}"] if args.gpu_memory else []
    asked = Asked.parse(args.scaling, args.shape, args.bandwidth)
    return run(_one(args), [*args.overrides, *memory], args.json, asked)


def _compare(args: argparse.Namespace) -> int:
    from entropostat.compare import run

    return run(args.runs, args.png, args.require, args.json)


def _sweep(args: argparse.Namespace) -> int:
    from entropostat.cli.sweep import Options, run

    options = Options(args.grid, args.seeds, args.jobs, args.allow_code, args.dry_run, args.slurm)
    return run(_one(args), args.overrides, options)


def _report(args: argparse.Namespace) -> int:
    from entropostat.cli.report import run

    return run(args.runs, args.out, args.watch, args.port)


def _diagnose(args: argparse.Namespace) -> int:
    from entropostat.cli.diagnose import run

    return run(args.run, args.json, args.live == "on")


def _methods(args: argparse.Namespace) -> int:
    from entropostat.cli.methods import run

    return run(args.name, args.write)


def _schema(args: argparse.Namespace) -> int:
    from entropostat.cli.schema import run

    return run(args.write)


def _dashboard(args: argparse.Namespace) -> int:
    from entropostat.cli import dashboard

    if args.kind == "wandb":
        return dashboard.wandb(args.subject, args.entity, args.offline)
    return dashboard.metrics(args.json, args.write)


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
    "sweep": _sweep,
    "report": _report,
    "diagnose": _diagnose,
    "methods": _methods,
    "schema": _schema,
    "dashboard": _dashboard,
}

if __name__ == "__main__":
    sys.exit(main())
