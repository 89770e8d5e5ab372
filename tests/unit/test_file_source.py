"""The source `file`: every format and packing gives the same examples; names, patterns and lists of files."""

from __future__ import annotations

import json
import os
import time
import tracemalloc

import pytest
from support.row_files import PACKERS, separated, tables, written
from support.sources import load

from entropostat.data.example import DataError
from entropostat.data.files import found, json_list
from entropostat.data.files.reading import ENDINGS, FORMATS

ROWS = [
    {"prompt": [{"role": "user", "content": f"{i} + {i}, “so”\n?"}], "truth": {"answer": str(2 * i)}, "level": i % 3}
    for i in range(40)
]
PLAIN = [{"prompt": f'{i} + {i}, "so"\n?', "answer": str(2 * i), "note": "a,b\tc"} for i in range(40)]
READ = {"answer": "truth.answer", "meta": ["level"]}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return written(tmp_path_factory.mktemp("rows"), ROWS)


def test_every_format_and_packing_gives_the_same_examples(files):
    assert {name.split(".")[-1] for name in files} >= {suffix[1:] for suffix in PACKERS if suffix}
    wanted = load("file", path=str(files["rows.jsonl"]), **READ)
    assert [(e.prompt, e.answer, e.meta["level"]) for e in wanted] == [
        (row["prompt"], row["truth"]["answer"], row["level"]) for row in ROWS
    ]
    for name, file in files.items():
        assert load("file", path=str(file), **READ) == wanted, name
        assert load("file", path=str(file), size=3, **READ) == wanted[:3], name


def test_commas_and_tabs_hold_the_same_texts(tmp_path):
    separated(tmp_path / "a.csv", PLAIN)
    separated(tmp_path / "b.tsv", PLAIN, "\t")
    (tmp_path / "c.CSV.GZ").write_bytes(PACKERS[".gz"](b"\xef\xbb\xbf" + (tmp_path / "a.csv").read_bytes()))
    (tmp_path / "d.jsonl").write_text("\n".join(map(json.dumps, PLAIN)))
    read = [load("file", tmp_path, path=name, meta=["note"]) for name in ("a.csv", "b.tsv", "c.CSV.GZ", "d.jsonl")]
    assert all(one == read[-1] for one in read) and read[0][3].prompt == PLAIN[3]["prompt"]


def test_a_saved_dataset_gives_the_same_examples(files, tmp_path):
    import datasets

    table = datasets.Dataset.from_list(ROWS)
    table.save_to_disk(str(tmp_path / "one"))
    datasets.DatasetDict({"train": table, "test": table.select(range(2))}).save_to_disk(str(tmp_path / "two"))
    wanted = load("file", path=str(files["rows.parquet"]), **READ)
    for path in ("one", "two"):
        assert load("hub", tmp_path, path=path, **READ) == wanted
    assert load("hub", tmp_path, path="two", split="test", **READ) == wanted[:2]


def test_the_stated_format_outdoes_the_ending(files, tmp_path):
    (tmp_path / "rows.txt").write_bytes(files["rows.jsonl"].read_bytes())
    with pytest.raises(DataError, match=r"'.txt' tells no format of rows; set format, or rename it: .jsonl"):
        load("file", tmp_path, path="rows.txt", **READ)
    assert len(load("file", tmp_path, path="rows.txt", format="jsonl", **READ)) == 40
    assert set(ENDINGS.values()) | {"auto"} == set(FORMATS)


@pytest.mark.parametrize("chunk", [1, 7, 64])
def test_a_list_is_read_alike_in_pieces_of_any_size(chunk, files, monkeypatch):
    monkeypatch.setattr(json_list, "CHUNK", chunk)
    wanted = load("file", path=str(files["rows.jsonl"]), **READ)
    for name in ("rows.json", "rows.object.json"):
        assert load("file", path=str(files[name]), **READ) == wanted


def test_one_object_is_one_row_and_its_messages_are_no_rows(tmp_path):
    row = {"messages": [{"role": "user", "content": "a"}], "answer": "b"}
    for indent in (None, 1):
        (tmp_path / "a.json").write_text(json.dumps(row, indent=indent))
        assert [e.answer for e in load("file", tmp_path, path="a.json", prompt="messages")] == ["b"]


def test_patterns_and_lists_are_read_in_sorted_order_each_file_once(tmp_path):
    for name in "cab":
        (tmp_path / f"{name}.jsonl").write_text(json.dumps({"prompt": name, "answer": name}))
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / "d.jsonl").write_text(json.dumps({"prompt": "d", "answer": "d"}))
    (tmp_path / "x[1].jsonl").write_text(json.dumps({"prompt": "x", "answer": "x"}))
    read = lambda path: "".join(e.prompt for e in load("file", tmp_path, path=path))
    assert read("[a-c].jsonl") == "abc"
    assert read(["b.jsonl", "*.jsonl", "a.jsonl"]) == "abcx"
    assert read("**/[a-d].jsonl") == "abcd"
    assert read("x[1].jsonl") == "x"
    ids = [e.id for e in load("file", tmp_path, path="*.jsonl")]
    assert len(set(ids)) == 4


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("rwos.jsonl", r"no file .*rwos.jsonl.*, did you mean 'rows.jsonl'\?; set path"),
        ("*.parqet", "no file matches .*parqet; correct the pattern"),
        ([], "path is an empty list"),
        ("", "path '' names no file"),
        ("a\0b", "names no file"),
        ("https://host/rows.jsonl", "is not on this machine"),
        (".", r"is a folder; name its files, as in './\*.jsonl', or use hub"),
        ("pipe.jsonl", "no regular file"),
        (["rows.jsonl", "gone.jsonl"], "no file .*gone.jsonl"),
    ],
)
def test_a_path_without_a_file_is_one_line(path, said, tmp_path):
    (tmp_path / "rows.jsonl").write_text('{"prompt": "a", "answer": "b"}')
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match=said) as caught:
        load("file", tmp_path, path=path)
    assert "\n" not in str(caught.value) and "; " in str(caught.value)


def test_a_pattern_that_walks_for_ever_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(found, "SECONDS", 0.05)
    monkeypatch.setattr(found.os.path, "isfile", lambda name: time.sleep(0.02))
    for i in range(50):
        (tmp_path / f"{i}.jsonl").write_text("")
    with pytest.raises(DataError, match=r"'\*\*/\*.jsonl' is still looked for after 0.05 s; narrow the pattern"):
        load("file", tmp_path, path="**/*.jsonl")


@pytest.mark.parametrize("ending", ["jsonl", "json", "parquet"])
def test_the_rows_beyond_the_size_are_not_held(ending, tmp_path):
    rows = [{"prompt": f"{i}", "answer": "b", "trace": f"{i}" * 400} for i in range(4000)]
    file = tmp_path / f"rows.{ending}"
    if ending == "parquet":
        file = tables(tmp_path, rows)["rows.parquet"]
    else:
        file.write_text("\n".join(map(json.dumps, rows)) if ending == "jsonl" else json.dumps(rows))
    load("file", path=str(file), size=1)
    tracemalloc.start()
    assert len(load("file", path=str(file), size=4000)) == 4000
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4000 * 1200, peak  # rows alone are 6 MB
