"""Files of wandb and trackio from elsewhere: a database with SQL of its own, a log with damaged chunks."""

from __future__ import annotations

import json
import os
import sqlite3
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.hostile_runs import ESCAPE, ODD, called

from entropostat.readers import read, read_all
from entropostat.readers.wandb_file import BLOCK

pytestmark = pytest.mark.timeout(60)
TABLE = "CREATE TABLE metrics (id INTEGER PRIMARY KEY, run_id TEXT, run_name TEXT, step INTEGER, metrics TEXT)"
ENDLESS = "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT n AS id, n AS run_id, n AS run_name, n AS step, n AS metrics FROM c"
HOSTILE = {
    "view": f"CREATE VIEW metrics AS {ENDLESS}",
    "view of another case": f"CREATE VIEW Metrics AS {ENDLESS}",
    "view that sorts for ever": f"CREATE VIEW metrics AS {ENDLESS} ORDER BY random()",
    "computed column": TABLE[:-1].replace("metrics TEXT", "other TEXT")
    + ", metrics TEXT AS (hex(zeroblob(500000000))))",
    "virtual table": "CREATE VIRTUAL TABLE metrics USING fts5(id, run_id, run_name, step, other)",
    "other columns": "CREATE TABLE metrics (a)",
    "a blob that is no text": f"{TABLE}; INSERT INTO metrics VALUES (1, x'ff', x'ff', 'x', x'ff')",
    "text that is no UTF-8": f"{TABLE}; INSERT INTO metrics VALUES (1, 'a', CAST(x'ff' AS TEXT), 1, CAST(x'ff' AS TEXT))",
}


@pytest.mark.parametrize("kind", [*HOSTILE])
def test_a_database_with_sql_of_its_own_is_one_line_in_seconds(tmp_path: Path, kind: str) -> None:
    file = tmp_path / "x.db"
    with sqlite3.connect(file) as database:
        database.executescript(HOSTILE[kind])
    before, begun = sorted(tmp_path.iterdir()), time.monotonic()
    code, out, err = called("report", str(file), "--out", str(tmp_path / "x.html"))
    assert time.monotonic() - begun < 4 and (code, out) == (2, "") and len(err.splitlines()) == 1
    assert str(file) in err and sorted(tmp_path.iterdir()) == before


def test_a_table_that_takes_too_long_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "x.db"
    with sqlite3.connect(file) as database:
        database.execute(TABLE)
        database.executemany("INSERT INTO metrics VALUES (?, 'a', 'a', 1, '{}')", ((i,) for i in range(50_000)))
    monkeypatch.setattr("entropostat.readers.trackio_db.SECONDS", 0.0)
    monkeypatch.setattr("entropostat.readers.trackio_db.INSTRUCTIONS", 100)
    with pytest.raises(ValueError, match=r"x\.db: not read within 0 s"):
        read_all(file)


def test_a_database_that_another_process_has_locked_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "x.db"
    with sqlite3.connect(file, isolation_level=None) as database:
        database.execute(TABLE)
        database.execute("BEGIN EXCLUSIVE")
        monkeypatch.setattr("entropostat.readers.trackio_db.SECONDS", 0.2)
        with pytest.raises(ValueError, match=r"x\.db: no database of trackio \(database is locked\)"):
            read_all(file)


@pytest.mark.parametrize("suffix", ["x.db", "x.wandb", "run-x.wandb"])
@pytest.mark.parametrize("kind", ["pipe", "folder", "loop", "device", "junk", "empty", "nothing"])
def test_a_tracker_s_file_of_another_kind_is_one_line(tmp_path: Path, suffix: str, kind: str) -> None:
    from support.hostile_runs import PLACES

    PLACES[kind](tmp_path / suffix)
    code, out, err = called("report", str(tmp_path / suffix), "--out", str(tmp_path / "x.html"))
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and suffix in err


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.tuples(st.sampled_from(["a", ESCAPE, None]), ODD, ODD), min_size=1, max_size=8))
def test_whatever_trackio_s_rows_hold_is_a_report_or_one_line(
    tmp_path: Path, rows: list[tuple[object, object, object]]
) -> None:
    file = tmp_path / "x.db"
    file.unlink(missing_ok=True)
    with sqlite3.connect(file) as database:
        database.execute(TABLE)
        for name, step, row in rows:
            simple = step if isinstance(step, float | None) else str(step).encode("utf-8", "replace")
            text = json.dumps(row) if not isinstance(row, bytes) else row
            database.execute(
                "INSERT INTO metrics (run_id, run_name, step, metrics) VALUES (?, ?, ?, ?)", (name, name, simple, text)
            )
    code, out, err = called("report", str(file), "--out", str(tmp_path / "x.html"))
    assert code in (0, 2) and len(err.splitlines()) <= 1 and "\x1b" not in out + err


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of wandb with 400 rows, over several blocks."""
    from wandb.proto.wandb_internal_pb2 import Record

    file = tmp_path_factory.mktemp("wandb") / "run-x.wandb"
    write(
        file,
        [
            row(Record(), step, {"train/global_step": step, "train/entropy": 0.5, "pad": "p" * 300})
            for step in range(1, 401)
        ],
    )
    return file


def row(record, step: int, values: dict[str, object]) -> bytes:
    record.history.step.num = step
    for key, value in values.items():
        item = record.history.item.add()
        item.key, item.value_json = key, value if isinstance(value, str) and key == "raw" else json.dumps(value)
    return record.SerializeToString()


def write(file: Path, records: list[bytes]) -> None:
    import struct
    import zlib

    data = bytearray(b":W&B\x12\xb1\x00")
    for record in records:
        left = BLOCK - len(data) % BLOCK
        if left < 7 + len(record):  # these are short: none is split
            data += b"\0" * left
        data += struct.pack("<IHB", zlib.crc32(b"\x01" + record), len(record), 1) + record
    file.write_bytes(data)


def test_one_damaged_byte_of_wandb_s_file_costs_one_block_and_is_said(tmp_path: Path, recorded: Path) -> None:
    data = bytearray(recorded.read_bytes())
    data[BLOCK + 5000] ^= 1
    file = tmp_path / "run-x.wandb"
    file.write_bytes(data)
    damaged, whole = read(file), read(recorded)
    assert whole.damage == () and [r["step"] for r in whole.rows] == list(range(1, 401))
    lost = {r["step"] for r in whole.rows} - {r["step"] for r in damaged.rows}
    assert 0 < len(lost) < 120 and max(lost) < 400 and "1 row left out (the first in row " in damaged.damage[0]


def test_a_value_of_wandb_s_that_is_no_json_costs_itself(tmp_path: Path) -> None:
    from wandb.proto.wandb_internal_pb2 import Record

    file = tmp_path / "run-x.wandb"
    write(
        file,
        [row(Record(), 1, {"train/global_step": 1, "train/kl": 0.5, "raw": bad}) for bad in ("[" * 50_000, "{", "")],
    )
    run = read(file)
    assert run.series("kl")[1] == [0.5] * 3 and "3 values left out (the first in row 1, raw: no JSON)" in run.damage[0]


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    places=st.lists(st.tuples(st.integers(0, 2**20), st.binary(min_size=1, max_size=9)), max_size=5),
    size=st.integers(0, 2**20),
)
def test_no_damage_to_wandb_s_file_is_more_than_a_line(
    tmp_path: Path, recorded: Path, places: list[tuple[int, bytes]], size: int
) -> None:
    data = bytearray(recorded.read_bytes())
    for place, junk in places:
        at = place % len(data)
        data[at : at + len(junk)] = junk
    file = tmp_path / "run-x.wandb"
    file.write_bytes(data[: size % (len(data) + 1)])
    try:
        assert read(file).rows
    except ValueError as error:
        assert "\n" not in str(error) and os.fspath(file) in str(error)
