"""The pages for people: their links lead somewhere, the first recipe is on the first screen, and no benchmark goes without its line."""

from __future__ import annotations

import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from entropostat.catalog import load

ROOT = Path(__file__).parents[2]
PAGES = [
    *ROOT.glob("*.md"),
    *(ROOT / "docs").glob("*.md"),
    *(ROOT / "docs" / "methods").glob("*.md"),
    *(ROOT / "benchmarks").rglob("*.md"),
]
INDEX = ROOT / "benchmarks" / "README.md"


def slugs(text: str) -> set[str]:
    """The anchors that GitHub gives to a page's headings."""
    heads = re.findall(r"^#+ (.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    plain = [
        re.sub(r"[^\w\- ]", "", re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", head).lower()).replace(" ", "-")
        for head in heads
    ]
    seen: Counter[str] = Counter()
    names = set()
    for one in plain:
        names.add(f"{one}-{seen[one]}" if seen[one] else one)
        seen[one] += 1
    return names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_within_the_project_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    links = [*re.findall(r"\]\(([^)\s]+)\)", text), *re.findall(r'<img src="([^"]+)"', text)]
    for link in links:
        file, _, anchor = link.partition("#")
        if ":" in file:
            continue
        target = (page.parent / file).resolve() if file else page
        assert target.exists(), link
        assert not anchor or anchor in slugs(target.read_text()), link


def test_a_recipe_stands_on_the_first_screen_of_a_short_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert text[: text.index("```yaml")].count("\n") < 30
    assert len(text.split()) < 1500


def test_the_readme_leads_to_the_terms_of_every_slot_and_names_only_what_there_is() -> None:
    text = (ROOT / "README.md").read_text()
    terms = load().terms
    rows = [row for row in text.splitlines() if row.startswith("| [") and "docs/methods/README.md#" in row]
    linked = {slot: row for row in rows for slot in re.findall(r"methods/README\.md#(\w+)", row)}
    assert sorted(linked) == sorted(terms)
    for row in rows:
        slots = [slot for slot, one in linked.items() if one is row]
        known = {name for slot in slots for name in terms[slot]} | {"shaping:", "teacher:", "--allow-code"}
        named = set(re.findall(r"`([^`]+)`", row.split("|")[2]))
        assert named and named <= known, f"{slots}: {sorted(named - known)}"


def test_every_benchmark_and_every_page_of_results_is_in_the_index() -> None:
    text = INDEX.read_text()
    for file in (ROOT / "benchmarks").rglob("*.py"):
        script = '__name__ == "__main__"' in file.read_text()
        assert f"`{file.name}`" in text or (script and re.search(rf"`{file.stem}[ `]", text)), file.relative_to(ROOT)
    for page in (ROOT / "benchmarks" / "results").rglob("*.md"):
        assert f"({page.relative_to(INDEX.parent)})" in text, f"no link to {page.relative_to(ROOT)}"


def test_every_folder_of_code_is_on_the_page_of_the_architecture() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text()
    for top in ("rl", "trainers", "entropostat"):
        for folder in (ROOT / top).iterdir():
            if folder.is_dir() and not folder.is_symlink() and any(folder.glob("*.py")):
                assert re.search(rf"`({top}/)?{folder.name}/", text), (
                    f"{top}/{folder.name}/ is not in docs/architecture.md"
                )


def test_the_drawing_is_what_its_script_draws() -> None:
    images = ROOT / "docs" / "images"
    drawing = runpy.run_path(str(images / "architecture.py"))["drawing"]
    assert drawing() == (images / "architecture.svg").read_text(), "run: make docs"
