"""A checkpoint in a live trainer: whole or not there, with everything that a rank holds in memory only."""

from __future__ import annotations

import inspect
import json
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support import tiny
from support.log_history import step_rows
from transformers import Trainer, TrainerCallback
from transformers import trainer as trainer_module

from entropostat import checkpoints, manifest
from entropostat.rl.controllers.watch import Watch
from entropostat.rl.diagnostics.generations import KEPT
from entropostat.trainers.records.files import CompletionsFile, HistogramsFile, MetricsFile
from entropostat.trainers.state import rank_state as ranks
from entropostat.trainers.state.memory import Remembering
from entropostat.trainers.state.saving import check_engine

PID = {"pid": {"signal": "entropy", "target": 9.0, "effect": "raises", "ki": 1.0, "low": 0.0, "high": 0.01}}
"""At its bound from the first step on."""
BUFFERED = {"steps_per_generation": 2, "num_iterations": 2, "shuffle_dataset": False}


def make(path: str, folder: Path, **changes: Any) -> Any:
    spec = tiny.objective(penalties=[{"entropy_bonus": {"coef": PID}}])
    options = {"output_dir": str(folder), "save_strategy": "steps", "save_steps": 1, "max_steps": 7, **BUFFERED}
    return tiny.ours(path, spec, **{**options, **changes})


def test_what_saving_relies_on() -> None:
    parameters = lambda method: list(inspect.signature(method).parameters)
    assert parameters(Trainer._get_output_dir) == ["self", "trial"]
    assert parameters(Trainer._push_from_checkpoint) == ["self", "checkpoint_folder"]
    assert parameters(Trainer.get_batch_samples) == ["self", "epoch_iterator", "num_batches", "device"]
    source = inspect.getsource(Trainer._save_checkpoint)
    assert "run_dir = self._get_output_dir(trial=trial)" in source and "args.output_dir" not in source
    # Where DeepSpeed's files are read, all of them within these two.
    loading = "deepspeed_load_checkpoint("
    assert loading in inspect.getsource(Trainer._prepare_for_training) and loading in inspect.getsource(
        Trainer._load_best_model
    )
    assert inspect.getsource(trainer_module).count(loading) == 2
    source = inspect.getsource(Trainer._inner_training_loop)
    assert source.index("self._globalstep_last_logged =") < source.index("on_train_begin")


def test_a_checkpoint_is_named_when_it_is_whole_and_old_ones_go_after_that(path: str, tmp_path: Path) -> None:
    seen: list[tuple[int, list[str], str | None]] = []

    class Look(TrainerCallback):
        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            here = tmp_path / f"checkpoint-{state.global_step}"
            seen.append((state.global_step, sorted(p.name for p in tmp_path.iterdir()), checkpoints.damage(here)))

    trainer = make(path, tmp_path, max_steps=3, save_total_limit=1)
    writing = ranks.save_file
    during: list[list[str]] = []

    def watched(tensors: Any, file: Path) -> None:
        during.append(sorted(p.name for p in tmp_path.iterdir() if p.name != "README.md"))
        writing(tensors, file)

    trainer.add_callback(Look())
    try:
        ranks.save_file = watched  # type: ignore[assignment]
        trainer.train()
    finally:
        ranks.save_file = writing
    assert during == [[".checkpoint-1.partial"], [".checkpoint-2.partial", "checkpoint-1"],
                      [".checkpoint-3.partial", "checkpoint-2"]]  # fmt: skip
    assert [(step, [n for n in names if n != "README.md"]) for step, names, _ in seen] == [
        (step, [f"checkpoint-{step}"]) for step in (1, 2, 3)
    ]
    assert all(damage is None for *_, damage in seen)
    record = manifest.check(tmp_path / "checkpoint-3")
    assert record.world_size == 1 and record.engine == "torch" and record.step == 3
    needed = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json"}
    assert record.files.keys() >= needed | {"rank0.safetensors", "rank0.json"}
    assert "_get_output_dir" not in vars(trainer) and "_push_from_checkpoint" not in vars(trainer)


def test_a_full_disk_leaves_the_last_checkpoint_and_no_half_one(
    path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    writing = ranks.save_file

    def full(tensors: Any, file: Path) -> None:
        if "checkpoint-3" in str(file):
            file.write_bytes(b"half")
            raise OSError(28, "No space left on device")
        writing(tensors, file)

    monkeypatch.setattr(ranks, "save_file", full)
    with pytest.raises(OSError, match="No space left"):
        make(path, tmp_path, save_total_limit=1).train()
    assert sorted(p.name for p in tmp_path.iterdir() if p.name != "README.md") == ["checkpoint-2"]
    assert checkpoints.damage(tmp_path / "checkpoint-2") is None


def test_uploads_wait_for_the_name(path: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed: list[tuple[str, bool]] = []
    trainer = make(path, tmp_path, max_steps=1)
    trainer.args.push_to_hub = True
    monkeypatch.setattr(
        Trainer, "_push_from_checkpoint", lambda self, folder: pushed.append((folder, Path(folder).is_dir()))
    )
    monkeypatch.setattr(Trainer, "_finish_current_push", lambda self: None)
    trainer.create_model_card = lambda **_: None
    trainer.train()
    assert pushed == [(str(tmp_path / "checkpoint-1"), True)]


def test_the_best_checkpoint_is_named_as_it_will_be_called_and_kept(path: str, tmp_path: Path) -> None:
    trainer = make(path, tmp_path, max_steps=4, save_total_limit=2, metric_for_best_model="reward")
    rewards = iter([0.1, 0.9, 0.2, 0.3])

    class Score(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            trainer._determine_best_metric({"eval_reward": next(rewards)}, None)

    trainer.add_callback(Score())
    trainer.train()
    assert sorted(p.name for p in tmp_path.glob("checkpoint-*")) == ["checkpoint-2", "checkpoint-4"]
    for step in (2, 4):
        state = json.loads((tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text())
        assert state["best_model_checkpoint"] == str(tmp_path / "checkpoint-2")


def log(trainer: Any) -> list[dict[str, Any]]:
    timed = (
        "health/monitor_ms",
        "health/step_seconds",
        "step_time",
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "train_loss",
    )
    return [{k: v for k, v in row.items() if k not in timed} for row in trainer.state.log_history]


def recorded(trainer: Any, folder: Path) -> Any:
    for callback in (MetricsFile(folder), CompletionsFile(folder, 2, trainer, trainer.monitors)):
        trainer.add_callback(callback)
    return trainer


@pytest.fixture(scope="module")
def whole(path: str, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A run that logs every third step, with a checkpoint after each step and its trainer."""
    folder = tmp_path_factory.mktemp("whole")
    trainer = recorded(make(path, folder, logging_steps=3), folder)
    trainer.train()
    return SimpleNamespace(folder=folder, trainer=trainer)


@pytest.mark.parametrize("step", [1, 4, 5, 7])
def test_a_log_interval_goes_on_through_a_checkpoint(path: str, tmp_path: Path, whole: Any, step: int) -> None:
    """From 1 and 5, a generation of before the checkpoint is logged after it. At 7 nothing is left but the last row."""
    shutil.copytree(whole.folder, tmp_path / "again")
    folder = tmp_path / "again"
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 9, "loss": 1')  # a kill cut it short
    trainer = recorded(make(path, folder, logging_steps=3), folder)
    losses = trainer.train(resume_from_checkpoint=str(folder / f"checkpoint-{step}")).training_loss
    assert log(trainer) == log(whole.trainer) and trainer.state.global_step == 7
    rows = [(f / "metrics.jsonl").read_text().splitlines() for f in (folder, whole.folder)]
    assert [json.loads(row)["step"] for row in rows[0]] == [json.loads(row)["step"] for row in rows[1]] == [3, 6, 7]
    texts = [(f / "completions.jsonl").read_text() for f in (folder, whole.folder)]
    assert texts[0] == texts[1] and {json.loads(line)["step"] for line in texts[1].splitlines()} == {3, 6}
    if step == 7:
        assert losses == 0, "no step of this call"


def test_a_histogram_that_waits_for_its_log_goes_through_a_checkpoint(tmp_path: Path) -> None:
    waiting = {"step": 9, "key": "entropy", "edges": [0.0, 1.0], "counts": [3]}
    first = HistogramsFile(tmp_path, SimpleNamespace(histogram=waiting))
    kept = json.loads(json.dumps({"HistogramsFile": first.state()}, sort_keys=True))
    second = HistogramsFile(tmp_path, SimpleNamespace(histogram=None))
    state = SimpleNamespace(stateful_callbacks=kept, global_step=9, is_world_process_zero=True)
    written = []
    for file in (first, second):
        if file is second:
            file.on_train_begin(SimpleNamespace(output_dir=tmp_path), state, None)
        file.on_log(None, state, None)
        written.append((tmp_path / "histograms.jsonl").read_bytes())
        (tmp_path / "histograms.jsonl").unlink()
    assert written[0] == written[1] != b""


def test_a_run_that_begins_remembers_nothing(tmp_path: Path) -> None:
    """transformers has a state of each callback then, too: the one that it was built with."""
    file = MetricsFile(tmp_path)
    file.append({"step": 0})
    state = SimpleNamespace(stateful_callbacks={"MetricsFile": file.state()}, global_step=0, is_world_process_zero=True)
    file.append({"step": 1})
    seen, file.restore = [], lambda *words: seen.append(words)  # type: ignore[method-assign]
    for step, checkpoint in ((0, None), (1, tmp_path / "checkpoint-1")):
        state.global_step = step
        Remembering.on_train_begin(file, SimpleNamespace(output_dir=str(tmp_path)), state, None)
        assert seen[-1] == ({"size": 12} if step else {}, checkpoint)


def test_a_checkpoint_does_not_grow_with_the_steps_before_it(path: str, tmp_path: Path) -> None:
    """What was logged is in metrics.jsonl, from which a resumed run has its history."""
    trainer = recorded(make(path, tmp_path, max_steps=60, save_steps=30), tmp_path)
    trainer.train()
    states = [json.loads((tmp_path / f"checkpoint-{step}" / "trainer_state.json").read_text()) for step in (30, 60)]
    past = [
        kept["stateful_callbacks"]["ControlCallback"]["attributes"]["monitors"].pop("generations") for kept in states
    ]
    assert len(past[1]) <= KEPT, "means of the last generations, for their laws"
    sizes = [len(json.dumps(kept)) for kept in states]
    assert abs(sizes[1] - sizes[0]) < 300, "digits, and not rows"
    assert len(step_rows(trainer)) == 60
    assert json.loads((tmp_path / "checkpoint-60" / "trainer_state.json").read_text())["log_history"] == []


def test_a_resume_finishes_what_a_kill_has_interrupted(path: str, tmp_path: Path, whole: Any) -> None:
    """The last save had its name, and the older ones were still to go: nothing would save again."""
    folder = shutil.copytree(whole.folder, tmp_path / "again")
    (folder / ".checkpoint-1.partial" / "checkpoint-1").mkdir(parents=True)
    trainer = make(path, folder, logging_steps=3, save_total_limit=2)
    trainer.train(resume_from_checkpoint=str(folder / "checkpoint-7"))
    left = sorted(p.name for p in folder.iterdir() if "checkpoint" in p.name)
    assert left == ["checkpoint-6", "checkpoint-7"]


def test_a_watch_does_not_say_again_what_it_has_said(path: str, tmp_path: Path, whole: Any) -> None:
    (kept,) = json.loads((whole.folder / "checkpoint-4" / "trainer_state.json").read_text())["stateful_callbacks"][
        "ControlCallback"
    ]["attributes"]["watches"].items()
    shutil.copytree(whole.folder, tmp_path / "again")
    trainer = make(path, tmp_path / "again", logging_steps=3)
    trainer.train(resume_from_checkpoint=str(tmp_path / "again" / "checkpoint-4"))
    assert kept[1]["since"] == 4 and trainer.thermostat.watches == whole.trainer.thermostat.watches
    assert trainer.thermostat.watches[kept[0]].since == 7

    watch, state = Watch("entropy", since=49, side=1.0), {"saturated": 1.0, "error": 1.0}
    assert len(watch.look(state)) == 1
    again = Watch("entropy")
    again.restore(json.loads(json.dumps(watch.state_dict())))
    assert again == watch and again.look(state) == []


def test_another_engines_checkpoint_is_refused_by_the_names_of_the_strategies(whole: Any) -> None:
    checkpoint = whole.folder / "checkpoint-4"
    check_engine(whole.trainer, checkpoint)
    other = SimpleNamespace(
        is_deepspeed_enabled=True,
        accelerator=SimpleNamespace(state=SimpleNamespace(deepspeed_plugin=SimpleNamespace(zero_stage=2))),
    )
    with pytest.raises(ValueError, match=r"launch\.strategy is zero2 and was single or ddp"):
        check_engine(other, checkpoint)


@pytest.mark.parametrize(
    "line",
    [
        '{"step": Infinity}',
        '{"step": 1e999}',
        '{"step": true}',
        '{"step": "3"}',
        '{"step": []}',
        "[" * 100_000,
        "[3]",
        "\x00\x00",
        '{"a": 1}',
    ],
)
def test_rows_end_before_one_that_is_none(tmp_path: Path, line: str) -> None:
    file = MetricsFile(tmp_path)
    file.file.write_text('{"step": 1}\n{"step": 2}\n' + line + '\n{"step": 3}\n')
    state = SimpleNamespace(is_world_process_zero=True, global_step=3, stateful_callbacks={}, log_history=[])
    file.on_train_begin(SimpleNamespace(output_dir=tmp_path), state, None)
    assert file.file.read_text() == '{"step": 1}\n{"step": 2}\n'
    assert state.log_history == [{"step": 1}, {"step": 2}]


def test_a_row_of_the_history_that_is_none_is_left_out(tmp_path: Path) -> None:
    file = MetricsFile(tmp_path)
    text = '{"step": 1}\n' + "[" * 100_000 + '\n{"step": 2}\n'
    file.file.write_text(text)
    saved = {"MetricsFile": {"args": {}, "attributes": {"size": len(text)}}}
    state = SimpleNamespace(is_world_process_zero=True, global_step=3, stateful_callbacks=saved, log_history=[])
    file.on_train_begin(SimpleNamespace(output_dir=tmp_path), state, None)
    assert state.log_history == [{"step": 1}, {"step": 2}]
