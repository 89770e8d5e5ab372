"""``entropostat diagnose``: what is wrong with a run, since when, what did it, and what to change. Imports no torch."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from entropostat.cli import arguments
from entropostat.diagnose import Finding, Log, elsewhere, examine
from entropostat.diagnose.finding import MARK, line
from entropostat.diagnose.inputs import OURS, looked_for, nothing_to_judge
from entropostat.diagnose.live import Live
from entropostat.diagnose.story import stories
from entropostat.readers import OWN, own, read_all
from entropostat.readers.following import growing, grown
from entropostat.readers.run_folder import Run
from entropostat.strict_json import dumps
from entropostat.visible import complain


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="run folder, or a log of another trainer; see docs/diagnose.md")
    arguments.as_json(parser)
    parser.add_argument("--live", choices=("on", "off"), default="off", help="on: follow a run that goes on")


def run(args: argparse.Namespace) -> int:
    return diagnose(args.run, args.json, args.live == "on")


def diagnose(path: str, as_json: bool, live: bool) -> int:
    """Exit code 0 where nothing is found, 1 where something is, 2 where there is no run or nothing in it that can be judged.
    Of several runs in one file each is told, and the worst counts."""
    try:
        recorded = read_all(Path(path))
    except (OSError, ValueError) as error:
        complain("diagnose", error)
        return 2
    for told in (lost for one in recorded for lost in one.damage):
        complain("diagnose", told)
    if live:
        return follow(Path(path), recorded, as_json)
    said, codes = [], []
    for one in recorded:
        log = Log.of(one)
        if not own(Path(path)) and (why := nothing_to_judge(log)) is not None:
            complain("diagnose", f"{one.name}: {why}")
            codes.append(2)
            continue
        findings = examine(log)
        said.append(report(one.name, log, findings) if as_json else text(one.name, log, findings))
        codes.append(1 if findings else 0)
    if said:
        print(dumps(said[0] if len(recorded) == 1 else said, indent=2) if as_json else "\n\n".join(map(str, said)))
    return max(codes)


def report(name: str, log: Log, findings: list[Finding]) -> dict[str, Any]:
    judged, blind = looked_for(log)
    return {
        "run": name,
        "rows": log.rows,
        "last_step": int(log.last),
        "findings": [one.as_dict() for one in findings],
        "stories": [[one.rule for one in (story.cause, *story.after)] for story in stories(findings)],
        "looked_for": judged,
        "not_judged": blind,
    }


def text(name: str, log: Log, findings: list[Finding]) -> str:
    head = f"{name}: {log.rows} rows, to step {int(log.last)}"
    judged, blind = looked_for(log)
    ends = _unjudged(blind)
    if not findings:
        return "\n".join([f"{head}; nothing found", f"looked for {', '.join(judged)}", *ends])
    parts = [f"{head}; {len(findings)} finding{'s' if len(findings) > 1 else ''}"]
    for story in stories(findings):
        parts += ["", *_shown(story.cause, log.trainer)]
        parts += [
            f"   then      {_titled(one)}: {one.evidence}" + ("" if one.rule not in MEANT else f"; {one.cause}")
            for one in story.after
        ]
    return "\n".join([*parts, "", *ends] if ends else parts)


MEANT = frozenset(("dead-groups",))
"""What the cause of these adds to a story."""


def _titled(one: Finding) -> str:
    about = f" ({one.subject})" if one.subject else ""
    return f"{one.rule}{about}, steps {one.steps[0]} to {one.steps[1]}"


def _shown(one: Finding, trainer: str) -> list[str]:
    there = elsewhere.advice(one.rule, trainer)
    lines = one.advice.rstrip().splitlines()
    return [
        f"{MARK[one.severity]} {_titled(one)}",
        f"   evidence  {one.evidence}",
        f"   cause     {one.cause}",
        *([f"   in {trainer:<7}{there}"] if there else []),
        f"   {'here' if there else 'change':<10}" + ("\n" + " " * 13).join(lines),
    ]


def _unjudged(blind: Mapping[str, str]) -> list[str]:
    """The rules without an input, by what the log lacks. What only our own runs log is told in one word."""
    foreign = {rule: lacks for rule, lacks in blind.items() if rule not in OURS}
    told = [f"{rule} ({lacks})" for rule, lacks in foreign.items()]
    own = len(blind) - len(foreign)
    told += [f"{own} rules of what only entropostat logs"] if own else []
    return [f"not judged, for want of what they read: {'; '.join(told)}"] if told else []


def follow(path: Path, recorded: list[Run], as_json: bool) -> int:
    """Print each finding as it comes, until a run of ours has its summary, or for a foreign log until Ctrl-C. The exit code is that
    of ``diagnose``."""
    if len(recorded) > 1:
        complain("diagnose", f"{path}: {len(recorded)} runs there; --live follows one")
        return 2
    (run,) = recorded
    live, any_found = Live(run.vocabulary, run.terms), False
    rows = growing(path.parent if path.name == OWN else path) if own(path) else grown(path)
    try:
        for row in rows:
            for one in live.look() if row is None else live.add(row):
                any_found = True
                print(dumps(one.as_dict()) if as_json else line(one), flush=True)
    except KeyboardInterrupt:
        pass
    return 1 if any_found else 0
