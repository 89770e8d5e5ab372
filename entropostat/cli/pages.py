"""``entropostat methods --write``: the catalogue as Markdown, one page a term, from the docstrings."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from entropostat.catalog import TermInfo, load
from entropostat.cli.methods import PLACES, describe
from entropostat.cli.paper_index import ARXIV, markdown

EVIDENCE = Path(__file__).parents[1] / "evidence.json"


def write(folder: Path) -> list[Path]:
    """Write all pages and the index; remove pages of terms that are gone."""
    pages = {folder / "README.md": index(), folder / "papers.md": markdown()}
    pages |= {folder / slot / f"{t.name}.md": page(t) for slot, terms in load().terms.items() for t in terms.values()}
    for old in set(folder.glob("*/*.md")) - set(pages):
        old.unlink()
    for file, lines in pages.items():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(pages)


def index() -> list[str]:
    lines = [
        "# Methods",
        "",
        "Generated from the docstrings by `make docs`. The same text: `entropostat methods NAME`. By paper: [papers](papers.md).",
        "",
        f"Slots: {', '.join(f'[{slot}](#{slot})' for slot in load().terms)}.",
    ]
    for slot, terms in load().terms.items():
        lines += [
            "",
            f"## {slot}",
            "",
            f"In a recipe: `{PLACES.get(slot, slot)}`.",
            "",
            "| name | what it does | source |",
        ]
        lines.append("|---|---|---|")
        lines += [
            f"| [{t.name}]({slot}/{t.name}.md) | {_cell(t.summary)} | {_paper(t.paper)} |" for t in terms.values()
        ]
    return lines


def page(term: TermInfo) -> list[str]:
    return list(_page(term))


def _page(term: TermInfo) -> Iterator[str]:
    yield f"# {term.name}"
    yield ""
    facts = [f"`{PLACES.get(term.slot, term.slot)}`", _paper(term.paper)]
    facts.append(f"checked against {term.reference}" if term.reference else "")
    yield " · ".join(fact for fact in facts if fact)
    yield ""
    yield "```text"
    yield from term.doc.splitlines()
    yield "```"
    if told := evidence().get(term.name) if term.slot not in ("sources", "verifiers") else None:
        yield from ("", f"[Evidence](../../evidence.md) on small tasks: {told}")
    if term.fields:
        yield from ("", "| key | values | meaning |", "|---|---|---|")
        for field in term.fields:
            yield f"| `{field.name}` | {_cell(describe(field))} | {_cell(field.doc)} |"
    if term.provides:
        yield from ("", "| metric | meaning |", "|---|---|")
        for key, meaning in term.provides.items():
            yield f"| `{term.name}/{key}` | {_cell(meaning)} |"


@lru_cache(maxsize=1)
def evidence() -> dict[str, str]:
    """Method -> what runs say of its paper's claims: ``python -m benchmarks.claims pages`` writes it."""
    told: dict[str, str] = json.loads(EVIDENCE.read_text(encoding="utf-8"))
    return told


def _paper(paper: str) -> str:
    return "" if paper == "entropostat" else ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", paper)


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
