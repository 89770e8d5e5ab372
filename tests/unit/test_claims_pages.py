"""The evidence bench's pages are what its results say, and say what was not run."""

from __future__ import annotations

import json

from benchmarks.claims import choosing, evidence, spread, tables
from benchmarks.claims.cell import PLAIN
from benchmarks.claims.store import FOLDER, Store
from benchmarks.claims.tasks import TASKS
from entropostat.cli import pages


def test_the_committed_pages_are_those_of_the_committed_results():
    store = Store()
    assert (FOLDER / "plain.md").read_text() == spread.page(store)
    assert (FOLDER / "table.md").read_text() == tables.page(store)
    assert evidence.PAGE.read_text() == evidence.page(store)
    assert json.loads(evidence.LINES.read_text()) == evidence.lines(store)
    assert choosing.PAGE.read_text() == choosing.page(store)


def test_every_cell_has_its_recipe_and_its_machine_and_all_of_it_is_small():
    store = Store()
    for name, one in store.cells.items():
        assert store.made(one["recipe"]).base["name"] and one["machine"] in store.machines, name
        assert one["status"] == "done" or one["why"], name
    assert sum(file.stat().st_size for file in FOLDER.iterdir()) < 3e6


def test_without_runs_nothing_is_said(tmp_path):
    store = Store(tmp_path)
    page = evidence.page(store)
    assert "holds: 0, holds in part: 0, does not hold here: 0, undecided: 0" in page
    assert "Tuning (seeds 300, 301) has not been run yet" in page and "not run yet" in spread.page(store)
    assert tables.page(store).count("Not run yet: ") == len(TASKS)
    assert "Not run yet" in choosing.page(store) and not choosing.draw(store, tmp_path / "x.png")


def test_a_method_s_page_has_its_evidence():
    from entropostat.catalog import load

    text = "\n".join(pages.page(load().terms["penalties"]["kl_cov"]))
    assert f"[Evidence](../../evidence.md) on small tasks: {evidence.lines(Store())['kl_cov']}" in text
    assert "Evidence" not in "\n".join(pages.page(load().terms["verifiers"]["trl"])), "of another term of that name"
    assert PLAIN not in evidence.lines(Store())
