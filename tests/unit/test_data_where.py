"""Conditions on columns: what holds, what is refused, and what is said where none does."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from entropostat.data.example import DataError
from entropostat.data.registry import SOURCES
from entropostat.data.where import Where, faults

ROWS = [
    {"level": 4, "split": "train", "score": 0.1, "extra": {"kind": "a"}, "answer": "1"},
    {"level": 5, "split": "train", "score": 0.5, "extra": {"kind": "b"}, "answer": None},
    {"level": "4", "split": "test", "score": 0.9, "extra": {}, "answer": " "},
    {"level": True, "split": None, "score": float("nan"), "extra": None, "answer": "0"},
    {"level": 10**400, "split": ["train"], "score": "0.5", "extra": "a", "extra.kind": "a", "answer": "x"},
]


@pytest.mark.parametrize(
    "where, kept",
    [
        ({"level": 4}, [0]),
        ({"level": 4.0}, [0]),
        ({"level": [4, 5]}, [0, 1]),
        ({"level": "4"}, [2]),
        ({"level": True}, [3]),
        ({"level": 1}, []),
        ({"level": {"min": 5}}, [1, 4]),
        ({"score": {"min": 0.1, "max": 0.5}}, [0, 1]),
        ({"score": {"max": 0.5, "not": 0.1}}, [1]),
        ({"score": None}, [3]),
        ({"split": {"not": ["train", None]}}, [2, 4]),
        ({"split": ["test", None]}, [2, 3]),
        ({"answer": {"missing": True}}, [1, 2]),
        ({"answer": {"missing": False}}, [0, 3, 4]),
        ({"extra.kind": "a"}, [0, 4]),
        ({"extra.kind": None}, [2, 3]),
        ({"split": "train", "level": {"min": 5}}, [1]),
        ({}, [0, 1, 2, 3, 4]),
    ],
)
def test_a_row_is_taken_where_all_conditions_hold(where: dict[str, Any], kept: list[int]) -> None:
    conditions = Where(where)
    assert [index for index, row in enumerate(ROWS) if conditions.takes(row)] == kept
    assert conditions.dropped == len(ROWS) - len(kept)


@pytest.mark.parametrize(
    "where, place, said",
    [
        ("level > 3", (), "must be a mapping"),
        ({"level": {"mni": 3}}, ("level", "mni"), "did you mean 'min'"),
        ({"level": {"min": "3"}}, ("level", "min"), "finite number"),
        ({"level": {"min": float("inf")}}, ("level", "min"), "finite number"),
        ({"level": {"min": 3, "max": 2}}, ("level", "min"), "leaves no number up to max"),
        ({"level": {"missing": 1}}, ("level", "missing"), "true or false"),
        ({"level": {"missing": True, "min": 0}}, ("level", "missing"), "no row that has a value"),
        ({"level": []}, ("level",), "empty list"),
        ({"level": {}}, ("level",), "says nothing"),
        ({"level": [[4]]}, ("level", "0"), "must be text"),
        ({"level": {"not": [{}]}}, ("level", "not", "0"), "must be text"),
        ({"level": float("nan")}, ("level",), "finite"),
        ({4: 4}, ("4",), "named by text"),
    ],
)
def test_what_is_no_condition_is_refused_with_its_place(where: Any, place: tuple[str, ...], said: str) -> None:
    ((found, message),) = faults(where)
    assert found == place and said in message


def sources(folder: Path, rows: list[dict[str, Any]], **options: Any) -> list[Any]:
    """The same rows from a file of JSON lines and from a data set."""
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    Dataset.from_list(rows).save_to_disk(str(folder / "saved"))
    return [SOURCES.build(kind, {"path": path, **options}) for kind, path in (("file", "rows.jsonl"), ("hub", "saved"))]


def questions(count: int) -> list[dict[str, Any]]:
    return [{"prompt": f"q{i}", "answer": f"#### {i}" if i % 2 else "none", "level": i % 5} for i in range(count)]


def test_every_source_of_columns_applies_them_before_it_reads_the_answer(tmp_path: Path) -> None:
    where = {"level": [1, 3], "answer": {"not": "none"}}
    for source in sources(tmp_path, questions(20), where=where, answer_regex="#### (.+)", size=15):
        dropped: Counter[str] = Counter()
        found = list(source.rows(tmp_path, dropped))
        assert [(e.prompt, e.answer) for e in found] == [("q1", "1"), ("q3", "3"), ("q11", "11"), ("q13", "13")]
        assert dropped == {"where": 11} and source.load(tmp_path) == found
        assert found[0].id.split("-")[0].endswith("/1"), "an id does not move with the conditions"


def test_conditions_that_no_row_meets_are_told_with_what_is_there(tmp_path: Path) -> None:
    for source in sources(tmp_path, questions(9), where={"level": "3"}):
        with pytest.raises(DataError, match=r"none of 9 rows has .*'3'.*level is such as 0, 1, 2"):
            source.load(tmp_path)
    for source in sources(tmp_path, questions(9), where={"levl": 3}):
        with pytest.raises(DataError, match=r"where\.levl: unknown column 'levl', did you mean 'level'"):
            source.load(tmp_path)
