"""The command line. Every command is imported when it is called, so that ``--help`` costs nothing."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence

from entropostat import __version__
from entropostat.cli import command, commands
from entropostat.cli.arguments import Parser
from entropostat.visible import lines, visible


def main(argv: Sequence[str] | None = None) -> int:
    """Exit codes: 0 done, 1 the run or plan failed, 2 the recipe or the command line is wrong, 130 interrupted."""
    if isinstance(sys.stdout, io.TextIOWrapper):  # a terminal without Unicode gets escapes instead of a traceback
        sys.stdout.reconfigure(errors="backslashreplace")
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0].startswith("-"):
        parser = _overview()
        parser.parse_args(words)
        parser.print_help()
        return 0
    if words[0] not in commands():
        return _unknown_command(words[0])
    return _called(words[0], words[1:])


def _called(name: str, words: Sequence[str]) -> int:
    try:
        called = command(name)
        parser = Parser(prog=f"entropostat {name}", description=commands()[name])
        called.add(parser)
        parser.set_defaults(command=name)
        code = called.run(parser.parse(words))
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
        from entropostat.faults import RunFault, SetupError, note_fault
        from entropostat.recipe.errors import RecipeError
        from entropostat.secrets import redacted

        if not isinstance(error, (RecipeError, DataError, SetupError, RunFault)):
            raise
        # Mistakes of the user, told in lines that name the place and the fix: a traceback would bury them.
        told = "\n".join(map(visible, map(str, error.problems))) if isinstance(error, RecipeError) else lines(error)
        told = redacted(told)
        note_fault(told)
        print(told, file=sys.stderr)
        return 1 if isinstance(error, RunFault) else 2


def _unknown_command(word: str) -> int:
    from entropostat.recipe.errors import nearest
    from entropostat.secrets import redacted

    print(
        visible(f"entropostat: unknown command {redacted(word, hashes=True)!r}; {nearest(word, commands())}"),
        file=sys.stderr,
    )
    return 2


def _overview() -> Parser:
    parser = Parser(prog="entropostat", description="A thermostat for policy entropy in RLHF and RLVR, on TRL.")
    parser.add_argument("--version", action="version", version=__version__)
    listed = parser.add_subparsers(metavar="COMMAND")
    for name, text in commands().items():
        listed.add_parser(name, help=text)
    return parser


if __name__ == "__main__":
    sys.exit(main())
