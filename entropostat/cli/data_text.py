"""What `entropostat data` found, for people. All of it may hold what stands in the data: each line is made harmless."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from entropostat.cli.status import table
from entropostat.visible import shorten, visible

SOURCES = {
    "rows": "rows",
    "train": "train",
    "held_out": "held out",
    "no_answer": "no answer",
    "repeated": "repeated",
    "conflicting": "two answers",
    "elsewhere": "in others",
    "tested": "in sets",
    "nearly": "nearly tested",
}
"""Columns of the table by their keys."""
LONGEST = 3000
"""Characters of a prompt: the beginning and the end of a longer one are shown."""
ANSWER = 200


def text(found: dict[str, Any]) -> list[str]:
    return [visible(line) for part in (_sources, _references, _lengths, _first) for line in part(found)]


def _sources(found: dict[str, Any]) -> Iterator[str]:
    yield f"data of {found['name']}"
    yield ""
    rows = [(source["source"], *(f"{source[key]:,}" for key in SOURCES)) for source in found["sources"]]
    tests = [
        (s["set"], *(f"{s[key]:,}" if key in s and key not in OF_TRAINING else "-" for key in SOURCES))
        for s in found["sets"]
    ]
    yield from table([("source", *SOURCES.values()), *rows, *tests])
    for source in found["sources"]:
        lost = ", ".join(f"{part['rows']:,} {part['why']}" for part in source["dropped"])
        if lost:
            yield f"dropped from {source['source']}: {lost}"


OF_TRAINING = ("elsewhere", "tested", "nearly")


def _references(found: dict[str, Any]) -> Iterator[str]:
    told = found["references"]
    yield ""
    yield "references"
    for reading in told["readings"]:
        yield f"  {reading['line']}"
        yield from (f"    {example}" for example in reading["examples"])
    yield from (f"  {note}" for note in told["notes"])
    if not told["readings"] and not told["notes"]:
        yield "  no verifier compares with them"
    if told["problem"] is not None:
        yield f"  error: {told['problem']}"


def _lengths(found: dict[str, Any]) -> Iterator[str]:
    told = found["prompts"]
    yield ""
    if told["lengths"] is None:
        yield f"prompts in tokens: not known. {told['why']}"
        return
    lengths = told["lengths"]
    some = "" if lengths["count"] == told["train"] else f", {lengths['count']:,} measured"
    yield f"prompts in tokens, of {told['train']:,} to train on{some}"
    yield from (f"  {line}" for line in lengths["lines"])
    shares = ", ".join(f"{float(share):.0%} at most {length:,}" for share, length in lengths["quantiles"].items())
    yield f"  {shares}, longest {lengths['longest']:,}"
    for limit in told["limits"]:
        yield f"  {limit['over']:.2%} longer than {limit['tokens']:,} = {limit['key']}"


def _first(found: dict[str, Any]) -> Iterator[str]:
    shown: Sequence[dict[str, Any]] = found["prompts"]["first"]
    for number, entry in enumerate(shown, 1):
        tokens = "as it stands" if entry["tokens"] is None else f"{entry['tokens']:,} tokens"
        answer = "no answer" if entry["answer"] is None else f"answer {shorten(entry['answer'], ANSWER)}"
        yield ""
        yield f"prompt {number} ({entry['id']} of {entry['source']}, {tokens}; {answer})"
        yield from (f"  | {line}" for line in _cut(entry["text"]).split("\n"))


def _cut(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    return f"{text[:half]}\n[... {len(text) - 2 * half:,} characters ...]\n{text[-half:]}"
