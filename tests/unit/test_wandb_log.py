"""What our wandb callback writes of the run's files, and the reader that reads it back. One real offline run."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import wandb

from entropostat.dashboard.workspace import COMPLETIONS, HISTOGRAM
from entropostat.readers.wandb_file import BLOCK, history, read
from entropostat.trainers.records import trackers as tracking
from entropostat.trainers.records.wandb_log import WandbLog
from entropostat.trainers.watch import alerts

ARGS = SimpleNamespace(run_name="trial", output_dir="trial", logging_steps=1, to_dict=dict)
MODEL = SimpleNamespace(num_parameters=lambda: 1)
LONG = "long " * BLOCK


def state(step: int) -> Any:
    fields = {"is_world_process_zero": True, "is_hyper_param_search": False, "trial_name": None, "max_steps": 100}
    return SimpleNamespace(global_step=step, **fields)


def completion(step: int, **more: Any) -> dict[str, Any]:
    return {"step": step, "prompt": "1+1", "completion": "=2", "rewards": {"chain": 1.0}, "advantage": 0.5, **more}


def append(file: Path, row: dict[str, Any]) -> None:
    with file.open("a") as stream:
        stream.write(json.dumps(row) + "\n")


def logged(callback: WandbLog, step: int, **logs: float) -> None:
    callback.on_log(ARGS, state(step), None, model=MODEL, logs={"entropy": 1.0, **logs})


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that goes on from step 10, where its files hold rows of before."""
    folder = tmp_path_factory.mktemp("run")
    histograms, completions = folder / "histograms.jsonl", folder / "completions.jsonl"
    edges = [0.0, 1.0, 2.0]
    append(histograms, {"step": 8, "key": "entropy", "edges": edges, "counts": [9, 9]})
    append(completions, completion(8))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_SILENT", "true")
        patch.setenv("WANDB_CONSOLE", "off")
        run = wandb.init(project="trial", dir=folder, mode="offline", reinit="finish_previous")
        callback = WandbLog(folder, {"leash": "kl_ref"})
        callback.on_train_begin(ARGS, state(10), None, model=MODEL)
        append(histograms, {"step": 11, "key": "entropy", "edges": edges, "counts": [3, 1]})
        append(completions, completion(11))
        logged(callback, 11, **{"leash/kl": 0.1})
        append(completions, completion(12, tokens=["=", "2"], entropies=[0.5, None]))
        logged(callback, 12)
        alerts.alert("collapse", "entropy .01 nats", "critical")
        wandb.log({"long": LONG})
        callback.on_train_end(ARGS, state(12), None)
        assert wandb.run is None, "the next run in this process would add to it"
    (log,) = folder.glob(f"wandb/offline-run-*/run-{run.id}.wandb")
    return log


def test_the_numbers_are_logged_at_their_step(file: Path) -> None:
    row_at = {row["train/global_step"]: row for row in history(file) if "train/entropy" in row}
    assert row_at.keys() == {11, 12}
    assert (row_at[11]["train/entropy"], row_at[11]["train/leash/kl"]) == (1.0, 0.1)


def test_a_histogram_is_logged_once_at_its_step(file: Path) -> None:
    (row,) = [row for row in history(file) if f"{HISTOGRAM}/values" in row]
    assert row[f"{HISTOGRAM}/values"] == [3, 1] and row[f"{HISTOGRAM}/bins"] == [0, 1, 2]
    assert row["train/global_step"] == 11


def test_completions_are_tabled_seldom_and_at_the_end(file: Path) -> None:
    """Of a run of 100 steps that begins at 10, one table every 5 steps would be due at 15."""
    (row,) = [row for row in history(file) if f"{COMPLETIONS}/path" in row]
    table = json.loads((file.parent / "files" / row[f"{COMPLETIONS}/path"]).read_text())
    assert table["columns"] == ["step", "prompt", "completion", "advantage", "entropy", "chain"]
    assert table["data"] == [[12, "1+1", "=2", 0.5, 0.5, 1.0]]


def test_a_key_is_told_before_its_first_row(file: Path) -> None:
    kinds = [(kind, content.get("name")) for kind, content in read(file) if kind in ("metric", "history")]
    assert kinds.index(("metric", "train/entropy")) < kinds.index(("history", None))
    assert ("metric", "train/leash/kl") in kinds
    assert len([name for _, name in kinds if name == "train/entropy"]) == 1


def test_an_alert_reaches_wandb(file: Path) -> None:
    (alert,) = [content for kind, content in read(file) if kind == "alert"]
    assert (alert["title"], alert["text"], alert["level"]) == ("collapse", "entropy .01 nats", "ERROR")


def test_an_alert_is_a_line_where_no_tracker_is_on(capsys: pytest.CaptureFixture[str]) -> None:
    alerts.alert("collapse", "entropy .01 nats")
    assert capsys.readouterr().err == "warning: collapse: entropy .01 nats\n"


def test_a_record_over_several_blocks_is_read(file: Path) -> None:
    assert [row["long"] for row in history(file) if "long" in row] == [LONG]


def test_a_file_that_a_kill_cut_short_is_read_up_to_there(file: Path, tmp_path: Path) -> None:
    whole = list(read(file))
    torn = tmp_path / "torn.wandb"
    content = file.read_bytes()
    for size in (len(content) - 1, len(content) // 2, 100):
        torn.write_bytes(content[:size])
        records = list(read(torn))
        assert records == whole[: len(records)] and len(records) < len(whole)


def test_a_chunk_that_does_not_fit_its_checksum_ends_the_file(file: Path, tmp_path: Path) -> None:
    content = bytearray(file.read_bytes())
    content[BLOCK // 2] ^= 1
    broken = tmp_path / "broken.wandb"
    broken.write_bytes(content)
    assert len(list(read(broken))) < len(list(read(file)))


def test_another_file_is_refused_by_name(tmp_path: Path) -> None:
    other = tmp_path / "metrics.jsonl"
    other.write_text('{"step": 1}')
    with pytest.raises(ValueError, match=r"metrics\.jsonl: no wandb file"):
        history(other)


def settings(folder: Path, *overrides: str) -> dict[str, Any]:
    from entropostat.recipe import load
    from entropostat.recipe.extends import RECIPES

    return tracking.wandb_settings(load(RECIPES / "quickstart" / "pid-kl.yaml", list(overrides)), folder)


@pytest.fixture
def nothing_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> pytest.MonkeyPatch:
    for name in ("API_KEY", "MODE", "DIR", "PROJECT", "ENTITY", "NAME", "RUN_GROUP", "TAGS", "RUN_ID", "RESUME"):
        monkeypatch.delenv(f"WANDB_{name}", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    return monkeypatch


def test_without_a_key_wandb_is_offline(nothing_set: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given = settings(tmp_path, "tracking.wandb={}")
    assert (given["mode"], given["project"], given["name"]) == ("offline", "entropostat", tmp_path.name)
    assert given["group"] == "quickstart-pid-kl" and {"kl_ref", "pid"} <= set(given["tags"])
    assert "resume" not in given and "entity" not in given


def test_with_a_key_it_is_online_and_goes_on_with_its_run(nothing_set: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing_set.setenv("WANDB_API_KEY", "0" * 40)
    given = settings(tmp_path, "tracking.wandb={}")
    assert (given["mode"], given["resume"]) == ("online", "allow")
    assert (
        given["id"]
        == settings(tmp_path, "tracking.wandb={}")["id"]
        != settings(_other(tmp_path), "tracking.wandb={}")["id"]
    )
    assert settings(tmp_path, "tracking.wandb={mode: offline}")["mode"] == "offline"


def test_the_environment_comes_before_the_recipe(nothing_set: pytest.MonkeyPatch, tmp_path: Path) -> None:
    nothing_set.setenv("WANDB_MODE", "offline")
    nothing_set.setenv("WANDB_PROJECT", "theirs")
    nothing_set.setenv("WANDB_RUN_ID", "theirs")
    given = settings(tmp_path, "tracking.wandb={project: ours, mode: online}")
    assert not {"mode", "project", "id"} & set(given)


def _other(folder: Path) -> Path:
    other = folder / "other"
    other.mkdir()
    return other


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"id": 5}', '{"id": ""}', '{"id": "../x"}', "[" * 100_000, "\x00\x00"]
)
def test_a_damaged_identity_is_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / tracking.IDENTITY).write_text(text)
    with pytest.raises(ValueError, match=r"tracking\.json") as caught:
        tracking.run_id(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_link_at_the_identity_is_not_written_through(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / tracking.IDENTITY).symlink_to(tmp_path / "elsewhere")
    with pytest.raises((ValueError, FileNotFoundError), match=r"tracking\.json"):
        tracking.run_id(tmp_path / "run")
    assert not (tmp_path / "elsewhere").exists()


def test_the_identity_stays(tmp_path: Path) -> None:
    assert tracking.run_id(tmp_path) == tracking.run_id(tmp_path)
