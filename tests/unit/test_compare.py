"""Reading runs back, and what the table and the curves show of them."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from entropostat.compare.figure import draw, smoothed
from entropostat.compare.groups import grouped
from entropostat.compare.table import run, table
from entropostat.readers.run_folder import Run
from entropostat.sparkline import sparkline
from entropostat.trainers.records.files import MetricsFile, plain
from entropostat.trainers.records.progress import Progress

PNG = b"\x89PNG"


def write(folder: Path, rows: list[dict[str, object]], stages: dict[str, int] | None = None, tail: str = "") -> Path:
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows) + tail)
    (folder / "run.json").write_text(json.dumps({"stages": stages or {}}))
    return folder


def trained(steps: int = 40) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = [{"step": 0, "evaluate/easy/pass@1": 0.5, "evaluate/easy/share/working": 0.3}]
    for step in range(1, steps + 1):
        rows.append(
            {"step": step, "loss": 0.0, "entropy": 1.0 / step, "control/penalties.kl_ref.coef/output": 0.1 * step}
        )
    rows.append({"step": steps, "evaluate/easy/pass@1": 0.75, "evaluate/easy/share/working": 0.1})
    return rows


def test_a_torn_last_line_is_passed_over(tmp_path: Path) -> None:
    read_back = Run.read(write(tmp_path / "run", trained(5), tail='{"step": 6, "entr'))
    assert read_back.series("entropy") == ([1, 2, 3, 4, 5], [1.0, 1 / 2, 1 / 3, 1 / 4, 1 / 5])


def test_the_end_of_a_scattering_series_is_the_mean_of_its_last_tenth(tmp_path: Path) -> None:
    read_back = Run.read(write(tmp_path / "run", trained(40)))
    assert read_back.last("entropy") == pytest.approx(sum(1 / s for s in (37, 38, 39, 40)) / 4)
    assert read_back.last("evaluate/easy/pass@1") == 0.75
    assert read_back.last("nothing") is None
    assert read_back.knobs == ["penalties.kl_ref.coef"]


def test_the_table_has_a_column_for_each_run_and_a_dash_where_one_has_no_value(tmp_path: Path) -> None:
    with_kl = [{**row, "kl": 0.25} if "loss" in row else row for row in trained()]
    text = table(
        [
            Run.read(write(tmp_path / "a", trained(), {"0/easy": 0, "1/hard": 20})),
            Run.read(write(tmp_path / "b", with_kl)),
        ]
    )
    line = next(row for row in text.splitlines() if row.startswith("training kl"))
    assert line.split()[2:] == ["-", "0.250"]
    assert "hard from step 20" in text


def test_no_run_is_an_error_and_no_traceback(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([str(tmp_path)], None) == 2
    assert "no run there" in capsys.readouterr().err


def test_the_picture_is_drawn(tmp_path: Path) -> None:
    runs = [Run.read(write(tmp_path / name, trained(), {"0/easy": 0, "1/hard": 20})) for name in ("a", "b")]
    draw(grouped(runs), tmp_path / "picture.png")
    assert (tmp_path / "picture.png").read_bytes()[:4] == PNG


def test_a_smoothed_curve_does_not_cross_the_edge_of_a_stage() -> None:
    steps = list(range(1, 21))
    values = [1.0] * 10 + [0.0] * 10
    assert smoothed(steps, values, {"0/a": 0, "1/b": 10}) == values
    # Step 11 has five ones and six zeros around it, but of its own stage (up to step 12) five ones and two zeros.
    assert smoothed(steps, values, {})[10] == 0.0
    assert smoothed(steps, values, {"1/b": 12})[10] == 1.0


def test_a_sparkline_spans_from_zero_to_the_maximum() -> None:
    assert sparkline([0.0, 1.0]) == "▁█"
    assert sparkline([]) == ""
    assert len(sparkline(list(map(float, range(100))), 16)) == 16
    assert sparkline([2.0] * 50, 4) == "████"


def test_a_resumed_run_continues_its_file_from_the_checkpoint(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    file.file.write_text('{"step": 1}\n{"step": 2}\n{"step": 3}\n{"st')
    state = SimpleNamespace(is_world_process_zero=True, global_step=2, stateful_callbacks={})
    file.on_train_begin(SimpleNamespace(output_dir=tmp_path), state, None)
    file.on_log(None, SimpleNamespace(is_world_process_zero=True, global_step=3), None, {"loss": float("nan")})
    assert [json.loads(line) for line in file.file.read_text().splitlines()] == [
        {"step": 1},
        {"step": 2},
        {"step": 3, "loss": None},
    ]


def test_numbers_that_json_lacks_become_null() -> None:
    assert plain(float("inf")) is None and plain(1.5) == 1.5 and plain("x") == "x"


def test_a_run_that_measured_nothing_shows_no_zero(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows: list[dict[str, object]] = [{"step": step, "loss": 0.0, "entropy": None} for step in range(1, 6)]
    folder = write(tmp_path / "blind", rows)
    text = table([Run.read(folder)])
    assert "nothing measured" in text and "0.00" not in text.partition("entropy over the run")[2]
    progress = Progress("blind")
    state = SimpleNamespace(is_world_process_zero=True, global_step=1, max_steps=5)
    progress.on_log(None, state, None, logs={"loss": 0.0, "entropy": 0.5})
    progress.on_log(None, state, None, logs={"loss": 0.0, "entropy": None})
    assert "entropy null" in progress.line()
