"""Files of rows from strangers: whatever is in them costs one line, in bounded time and memory."""

from __future__ import annotations

import gzip
import json
import random

import pytest
from support.row_files import PACKERS, tables, written
from support.sources import load

from entropostat.data.example import DataError
from entropostat.data.files import arrow, packed

GOOD = {"prompt": "a", "answer": "b"}
LINE = json.dumps(GOOD).encode()
DEEP = b"[" * 100_000
WORDS = {
    "half a surrogate pair": (b'"a"', b'"\\ud800"', "half of a surrogate pair"),
    "no UTF-8": (b'"a"', b'"a\xff"', "no UTF-8"),
    "nested too deep": (b'"b"', DEEP, "nested too deep"),
    "a huge number": (b'"b"', b"1" * 5000, "a number of more digits"),
    "no number": (b'"b"', b"Infinity", "inf is no number"),
    "twice": (b'"answer"', b'"prompt"', "the key 'prompt' twice"),
    "not closed": (b"}", b"", "bad JSON"),
    "a list": (LINE, b"[1]", "instead of an object"),
    "an escape": (b'"a"', b'{"\\u001b[31m\\n": 1}', r"prompt.\\x1b"),
    "a number": (LINE, b"3", "instead of an object|begins with"),
}
FORMS = {"jsonl": b"%s\n", "json": b"[%s]", "object.json": b'{"rows": [{"prompt": "x", "answer": "y"}, %s]}'}


@pytest.mark.parametrize("suffix", PACKERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("word", WORDS)
def test_a_damaged_row_is_one_line_in_every_format_of_text(word, form, suffix, tmp_path):
    old, new, said = WORDS[word]
    text = FORMS[form] % LINE.replace(old, new, 1)
    file = tmp_path / f"rows.{form}{suffix}"
    file.write_bytes(PACKERS[suffix](text))
    with pytest.raises(DataError, match=said) as caught:
        load("file", path=str(file))
    line = str(caught.value)
    assert "\n" not in line and "\x1b" not in line and len(line) < 900 and file.name in line
    file.write_bytes(PACKERS[suffix](b"\xef\xbb\xbf" + FORMS[form] % LINE))
    assert load("file", path=str(file))[-1].answer == "b"


EMPTY = {
    "jsonl": b"\n \n",
    "json": b"[]",
    "a.json": b"{}",
    "b.json": b'{"rows": []}',
    "csv": b"prompt,answer\n",
    "tsv": b"",
    "c.jsonl": b"",
    "parquet": b"",
    "arrow": b"",
    "jsonl.gz": gzip.compress(b""),
}


@pytest.mark.parametrize("ending", EMPTY)
def test_a_file_without_rows_says_so(ending, tmp_path):
    (tmp_path / f"x.{ending}").write_bytes(EMPTY[ending])
    with pytest.raises(DataError, match=r"holds no rows|unknown column") as caught:
        load("file", tmp_path, path=f"x.{ending}")
    assert "\n" not in str(caught.value)


SEPARATED = {
    b"prompt,answer\na\n": "line 2: 1 cells, and the first line names 2 columns",
    b"prompt,answer\na,b,c\n": "line 2: 3 cells",
    b"prompt,prompt\na,b\n": "line 1: the column 'prompt' twice",
    b"prompt;answer\na;b\n": "one column, .* in which ';' separates; save the file with commas",
    b"prompt\tanswer\na\tb\n": "set format: tsv",
    b'prompt,answer\n"a,b\n': "line 2: no row of cells",
    b'prompt,answer\n"a"x,b\n': "line 2: no row of cells",
    b"prompt,answer\n\xff,b\n": "line 2: no UTF-8",
    "prompt,answer\na,b\n".encode("utf-16"): "is UTF-16",
    b"question,answer\na,b\n": "unknown column 'prompt', did you mean 'question'",
}


@pytest.mark.parametrize("text", SEPARATED, ids=range(len(SEPARATED)))
def test_cells_that_make_no_rows_are_one_line(text, tmp_path):
    (tmp_path / "a.csv").write_bytes(text)
    with pytest.raises(DataError, match=SEPARATED[text]) as caught:
        load("file", tmp_path, path="a.csv")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("suffix", [suffix for suffix in PACKERS if suffix])
@pytest.mark.parametrize("text", [b"\n", LINE + b"\n", b" " * 100], ids=["blank", "rows", "one line"])
def test_a_bomb_is_stopped_at_a_multiple_of_its_size(text, suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "FREE", 1 << 18)
    monkeypatch.setattr(packed, "LONGEST", 1 << 20)
    file = tmp_path / f"a.jsonl{suffix}"
    file.write_bytes(PACKERS[suffix](text * ((1 << 22) // len(text))))
    assert file.stat().st_size < 1 << 14
    with pytest.raises(DataError, match=r"unpacks to more than|longer than") as caught:
        load("file", path=str(file))
    assert "\n" not in str(caught.value)


def test_a_table_of_one_value_a_thousand_times_is_no_bomb_and_many_times_is(tmp_path, monkeypatch):
    import pyarrow as pa
    import pyarrow.parquet as pq

    for rows in (1000, 100_000):
        column = pa.array(["a" * 50] * rows).dictionary_encode()
        pq.write_table(pa.table({"prompt": column, "answer": column}), tmp_path / f"{rows}.parquet")
    monkeypatch.setattr(arrow, "ROWS", 1000)
    monkeypatch.setattr(arrow, "RATIO", 10)
    assert len(load("file", tmp_path, path="1000.parquet")) == 1000
    with pytest.raises(DataError, match="unpacks to 100000 rows"):
        load("file", tmp_path, path="100000.parquet")


OTHERWISE = {
    b'{"prompt": ["a", "b"], "answer": ["1", "2"]}': "its columns stand one after the other, prompt, answer; save a list",
    b'{"prompt": {"0": "a", "1": "b"}, "answer": {"0": "1", "1": "2"}}': "its columns stand one after the other",
    b'{"train": [{"prompt": "a", "answer": "b"}], "test": [{"prompt": "a"}]}': "two lists of objects, train, test",
    b'{"prompt": "a", "answer": "b"}{"b": 2}': "something follows",
    b'[{"prompt": "a", "answer": "b"},]': "a comma after the last row",
    b'[{"prompt": "a", "answer": "b"} {}]': r"row 1: bad JSON \('{' instead of ','",
    b'[{"prompt": "a", "answer": "b"}': "the end of the file instead of ','",
    b'{"rows": [{"prompt": "a", "answer": "b"}], "rows": 1}': "the key 'rows' twice",
}


@pytest.mark.parametrize("text", OTHERWISE, ids=range(len(OTHERWISE)))
def test_json_that_is_no_list_of_rows_is_one_line(text, tmp_path):
    (tmp_path / "a.json").write_bytes(text)
    with pytest.raises(DataError, match=OTHERWISE[text]) as caught:
        load("file", tmp_path, path="a.json")
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


@pytest.mark.parametrize("limit", [1 << 10])
def test_a_line_without_an_end_is_not_read_to_it(limit, tmp_path, monkeypatch):
    monkeypatch.setattr(packed, "LONGEST", limit)
    (tmp_path / "a.jsonl").write_bytes(b'{"prompt": "' + b"a" * 5000)
    with pytest.raises(DataError, match=f"line 1: longer than {limit} bytes"):
        load("file", tmp_path, path="a.jsonl")


KNOWN = {
    b"PK\x03\x04zip": "is a zip archive",
    b"version https://git-lfs.github.com/spec/v1\noid": "git lfs pull",
    b"PAR1": "set format: parquet",
    b"\x1f\x8b\x08\x00": "is damaged, or not whole",
    b"\x28\xb5\x2f\xfd\x00": "is damaged, or not whole",
    b"<!DOCTYPE html>": "bad JSON",
}


@pytest.mark.parametrize("start", KNOWN, ids=range(len(KNOWN)))
def test_a_file_of_another_kind_is_named(start, tmp_path):
    (tmp_path / "a.jsonl").write_bytes(start)
    with pytest.raises(DataError, match=KNOWN[start]):
        load("file", tmp_path, path="a.jsonl")
    (tmp_path / "a.jsonl.gz").write_bytes(LINE)
    with pytest.raises(DataError, match="is no gz file"):
        load("file", tmp_path, path="a.jsonl.gz")


def test_files_that_are_cut_or_changed_anywhere_are_read_or_refused(tmp_path):
    """Every format, at places drawn: never anything but rows or one line."""
    rng = random.Random(0)
    rows = [{"prompt": f"question {i}", "answer": str(i), "truth": {"x": [i]}} for i in range(50)]
    whole = {name: file.read_bytes() for name, file in written(tmp_path, rows).items()}
    refused = 0
    for name, data in whole.items():
        for _ in range(12):
            at = rng.randrange(len(data))
            changed = data[:at] if rng.random() < 0.3 else data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            (tmp_path / name).write_bytes(changed)
            try:
                load("file", tmp_path, path=name)
            except DataError as error:
                refused += 1
                assert "\n" not in str(error) and len(str(error)) < 900, name
    assert refused > len(whole)


def test_a_table_whose_text_is_no_text_is_refused(tmp_path):
    import pyarrow as pa

    files = tables(tmp_path, [GOOD] * 3)
    broken = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")])
    table = pa.table({"prompt": broken, "answer": ["b"]})
    with pa.ipc.new_file(str(files["rows.arrow"]), table.schema) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match="no arrow that can be read"):
        load("file", path=str(files["rows.arrow"]))
