"""Rows of the shapes that strangers bring, through each format that can hold them: read right, or refused in one line."""

from __future__ import annotations

import json
import logging

import pytest
from support.row_shapes import ASK, CODES, MATHS, SOLUTION
from support.row_shapes_chat import CHATS
from support.sources import load

from entropostat.data.example import DataError
from entropostat.data.notes import Notes
from entropostat.data.prompts import LOST, SPLIT
from entropostat.data.rows import Columns, to_example
from entropostat.reward.judge import judge
from entropostat.reward.registry import VERIFIERS

SHAPES = (*MATHS, *CODES, *CHATS)


def columns(options):
    return Columns(**{key: tuple(value) if key == "meta" else value for key, value in options.items()})


def test_there_are_forty_shapes_and_each_has_its_own_name():
    assert len({shape.name for shape in SHAPES}) == len(SHAPES) >= 40


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape.name)
def test_a_row_is_read_right_or_refused_in_one_line(shape):
    if shape.refused:
        with pytest.raises(DataError, match=shape.refused) as caught:
            to_example(shape.row, columns(shape.options), "rows.jsonl, line 1", 0, Notes())
        said = str(caught.value)
        assert said.startswith("rows.jsonl, line 1: ") and "\n" not in said and len(said) < 600 and "; " in said
    else:
        example = to_example(shape.row, columns(shape.options), "rows.jsonl, line 1", 0, Notes())
        assert (example.prompt, example.answer) == (shape.prompt, shape.answer)


def test_every_shape_is_the_same_through_jsonl_parquet_json_and_a_saved_dataset(tmp_path):
    import datasets
    import pyarrow as pa
    import pyarrow.parquet as pq

    tried = 0
    for index, shape in enumerate(shape for shape in SHAPES if not shape.refused):
        row = json.loads(json.dumps(shape.row))
        folder = tmp_path / str(index)
        folder.mkdir()
        (folder / "rows.jsonl").write_text(json.dumps(row) + "\n")
        (folder / "rows.json").write_text(json.dumps({"version": 1, "data": [row]}, indent=1))
        read = load("file", path=str(folder / "rows.jsonl"), **shape.options)
        assert [(e.prompt, e.answer) for e in read] == [(shape.prompt, shape.answer)]
        assert load("file", path=str(folder / "rows.json"), **shape.options) == read, shape.name
        table = pa.Table.from_pylist([row])
        pq.write_table(table, folder / "rows.parquet")
        assert load("file", path=str(folder / "rows.parquet"), **shape.options) == read, shape.name
        if index % 8 == 0:  # the library takes a while for each
            datasets.Dataset(table).save_to_disk(str(folder / "saved"))
            assert load("hub", path=str(folder / "saved"), **shape.options) == read, shape.name
            tried += 1
    assert tried > 5


def test_what_was_done_to_rows_is_counted_and_said_once(tmp_path, caplog):
    turns = [{"role": "user", "content": ASK}, {"role": "assistant", "content": SOLUTION}]
    lines = [json.dumps({"chosen": f"\n\nHuman: {ASK}\n\nAssistant: 2"}), json.dumps({"chosen": turns})] * 3
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    with caplog.at_level(logging.WARNING):
        load("file", tmp_path, path="a.jsonl", prompt="chosen", answer=None)
    said = [record.getMessage() for record in caplog.records]
    assert len(said) == 2 and f"of 6 row(s), 6 {LOST}" in said[1] and f"of 6 row(s), 3 {SPLIT}" in said[0]


def test_each_of_several_answers_is_right(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"prompt": ASK, "answer": ["2", "two", "2"]}))
    (example,) = load("file", tmp_path, path="a.jsonl", answer_list="any")
    assert [one.answer for one in example.accepted] == ["2", "two"] and json.dumps(dict(example.meta))
    verifier = VERIFIERS.build("exact_match", {})
    assert [judge(verifier, said, example).score for said in ("2", "two", "three")] == [1.0, 1.0, 0.0]


@pytest.mark.parametrize("written", ["3", "3.0", "3.10", "-0.0", "1e5", "12345678901234567890123", "true"])
def test_a_number_is_written_as_the_row_has_it(written, tmp_path):
    (tmp_path / "a.jsonl").write_text(f'{{"prompt": "a", "answer": {written}}}')
    (tmp_path / "a.json").write_text(f'[{{"prompt": "a", "answer": {written}}}]')
    for name in ("a.jsonl", "a.json"):
        assert load("file", tmp_path, path=name)[0].answer == written


def test_a_column_of_thousands_does_not_make_a_long_message(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({f"column{i}" * 9: i for i in range(20000)}))
    with pytest.raises(DataError, match="unknown column 'prompt'; there are: column0") as caught:
        load("file", tmp_path, path="a.jsonl")
    assert len(str(caught.value)) < 1500 and "more" in str(caught.value)
