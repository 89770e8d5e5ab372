"""``entropostat methods``: catalogue of all terms, or the page of one, from the docstrings."""

from __future__ import annotations

import argparse
import shutil
import textwrap
from collections.abc import Iterator
from pathlib import Path

from entropostat.catalog import FieldInfo, TermInfo, load
from entropostat.recipe.errors import nearest
from entropostat.visible import complain, visible

PLACES = {
    "rewards": "objective.rewards",
    "advantages": "objective.advantages",
    "weights": "objective.weights",
    "loss": "objective.loss",
    "penalties": "objective.penalties",
    "scalars": "objective.scalars",
    "data": "objective.data",
    "controllers": "instead of a number",
    "sources": "data.sources",
    "verifiers": "reward",
}
SIGNS = {"low": ">=", "high": "<=", "above": ">", "below": "<"}


def add(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("name", nargs="?", metavar="NAME", help="a term; SLOT/NAME where two slots share it")
    parser.add_argument("--papers", action="store_true", help="papers with their terms, and recipes of published runs")
    parser.add_argument("--write", metavar="FOLDER", help="write all pages as Markdown")


def run(args: argparse.Namespace) -> int:
    name, write = args.name, args.write
    if write is not None:
        from entropostat.cli.pages import write as write_pages

        print(visible(f"wrote {len(write_pages(Path(write)))} pages to {write}"))
        return 0
    if args.papers:
        from entropostat.cli.paper_index import text

        print("\n".join(text()))
        return 0
    lines = table() if name is None else page(name)
    if lines is None:
        names = sorted({term for terms in load().terms.values() for term in terms})
        complain("methods", f"unknown method {name!r}; {nearest(name or '', names)}")
        return 2
    print("\n".join(lines))
    return 0


def table() -> list[str]:
    """Every term by slot."""
    lines: list[str] = []
    width = shutil.get_terminal_size((120, 24)).columns
    for slot, terms in load().terms.items():
        lines += ["", f"{slot}  ({PLACES.get(slot, slot)})"] if lines else [f"{slot}  ({PLACES.get(slot, slot)})"]
        for term in terms.values():
            paper = f"  [{term.paper}]" if term.paper and term.paper != "entropostat" else ""
            lines.append(textwrap.shorten(f"{term.summary}", max(30, width - 20 - len(paper)), placeholder=" ..."))
            lines[-1] = f"  {term.name:<16}{lines[-1]}{paper}"
    return [*lines, "", "entropostat methods NAME prints the page of one."]


def page(name: str) -> list[str] | None:
    """The page of every term of that name: ``kl_ref``, or ``penalties/kl_ref`` for one slot; None if there is none."""
    slot, _, short = name.rpartition("/")
    matches = [terms[short] for key, terms in load().terms.items() if short in terms and slot in ("", key)]
    lines: list[str] = []
    for term in matches:
        lines += [*([""] if lines else []), *_page(term)]
    return lines or None


def _page(term: TermInfo) -> Iterator[str]:
    title = f"{term.slot}/{term.name}"
    yield title
    yield "=" * len(title)
    yield f"place: {PLACES.get(term.slot, term.slot)}"
    if term.paper:
        yield f"paper: {term.paper}"
    if term.reference:
        yield f"reference: {term.reference}"
    for phase, needs in (("at each update", term.needs), ("once per generation", term.rollout_needs)):
        if needs:
            yield f"reads {phase}: {'; '.join(map(str, needs))}"
    yield ""
    yield from term.doc.splitlines()
    if term.fields:
        yield ""
        yield "Keys"
        for field in term.fields:
            yield f"  {field.name}: {describe(field)}"
            if field.doc:
                yield f"      {field.doc}"
    if term.provides:
        yield ""
        yield "Metrics"
        for key, meaning in term.provides.items():
            yield f"  {term.name}/{key}: {meaning}"


def describe(field: FieldInfo) -> str:
    from entropostat.recipe.errors import show

    parts = ["required" if field.required else f"default {show(field.default)}"]
    if field.choices:
        parts.append(f"one of {', '.join(field.choices)}")
    else:
        parts.append(field.type.replace("|", " or "))
    parts += [f"{SIGNS[key]} {limit:g}" for key, limit in field.limits.items()]
    if not field.fixed:
        parts.append("a number or a controller")
    return ", ".join(parts)
