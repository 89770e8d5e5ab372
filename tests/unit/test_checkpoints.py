"""Which checkpoint a run goes on from, which ones are kept, and what may have changed since."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from entropostat import checkpoints, manifest
from entropostat.recipe import Recipe, load

PID = "entropostat:quickstart/pid-kl.yaml"


def recipe(folder: Path, *overrides: str) -> Recipe:
    return load(PID, [f"output_dir={folder}", "name=run", *overrides])


def saved(run: Path, step: int, **facts: Any) -> Path:
    folder = run / f"checkpoint-{step}"
    (folder / "global_step").mkdir(parents=True)
    (folder / "trainer_state.json").write_text("{}")
    (folder / "global_step" / "shard.pt").write_bytes(b"12345678")
    manifest.seal(folder, **{"world_size": 1, "engine": "torch", **facts})
    return folder


def test_the_newest_complete_one_is_found_and_others_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second, third = (saved(tmp_path / "run", step) for step in (3, 6, 9))
    (tmp_path / "run" / ".checkpoint-12.partial" / "checkpoint-12").mkdir(parents=True)
    assert checkpoints.find(recipe(tmp_path), "auto") == third
    (third / "global_step" / "shard.pt").write_bytes(b"1234")
    (second / "global_step" / "shard.pt").unlink()
    assert checkpoints.find(recipe(tmp_path), "last") == first
    told = capsys.readouterr().err
    assert "checkpoint-9, which is not complete (global_step/shard.pt has 4 of 8 bytes)" in told
    assert "checkpoint-6, which is not complete (global_step/shard.pt is missing)" in told
    (first / "trainer_state.json").unlink()
    assert checkpoints.find(recipe(tmp_path), "auto") is None
    with pytest.raises(FileNotFoundError, match=r"--resume last: .*run holds no complete checkpoint"):
        checkpoints.find(recipe(tmp_path), "last")


def test_newest_is_by_step_in_the_run_that_was_begun_last_and_by_no_clock(tmp_path: Path) -> None:
    for run, step in (("run", 30), ("run-2", 100), ("run-2", 12), ("run-10", 9), ("run-10", 11), ("run-other", 200)):
        saved(tmp_path / run, step)
    for age, (run, step) in enumerate((("run-10", 11), ("run-10", 9), ("run-2", 12), ("run-2", 100), ("run", 30))):
        os.utime(tmp_path / run / f"checkpoint-{step}", (age, age))  # a copy has the time of the copying
    order = []
    while (folder := checkpoints.find(recipe(tmp_path), "auto")) is not None:
        order.append((folder.parent.name, checkpoints.step(folder)))
        (folder / "trainer_state.json").unlink()
    assert order == [("run-10", 11), ("run-10", 9), ("run-2", 100), ("run-2", 12), ("run", 30)]


def test_what_went_on_from_an_earlier_step_is_newer_than_the_steps_that_it_left(tmp_path: Path) -> None:
    run = tmp_path / "run"
    for step in (3, 6, 9):
        saved(run, step, start=1)
    assert checkpoints.next_start(run) == 2
    branch = saved(run, 4, start=2)
    assert checkpoints.find(recipe(tmp_path), "auto") == branch
    checkpoints.rotate(run, 2, [branch])
    assert sorted(checkpoints.step(f) for f in run.iterdir()) == [4, 9]


def test_a_folder_that_is_named_must_be_complete(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", 3)
    assert checkpoints.find(recipe(tmp_path), str(folder)) == folder
    (folder / "global_step" / "shard.pt").write_bytes(b"")
    with pytest.raises(
        FileNotFoundError, match=r"checkpoint-3: not complete \(global_step/shard.pt has 0 of 8 bytes\)"
    ):
        checkpoints.find(recipe(tmp_path), str(folder))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint there \(trainer_state.json is missing\)"):
        checkpoints.find(recipe(tmp_path), str(tmp_path / "checkpoint-4"))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint there \(one is named checkpoint-STEP\)"):
        checkpoints.find(recipe(tmp_path), str(tmp_path / "run"))


@pytest.mark.parametrize(
    ("limit", "kept"), [(None, [3, 6, 9, 12]), (0, [3, 6, 9, 12]), (1, [3, 12]), (2, [3, 12]), (3, [3, 9, 12])]
)
def test_the_oldest_go_but_never_the_best_or_the_newest(tmp_path: Path, limit: int | None, kept: list[int]) -> None:
    folders = [saved(tmp_path, step) for step in (3, 6, 9, 12)]
    checkpoints.rotate(tmp_path, limit, [folders[0], folders[-1]])
    assert sorted(checkpoints.step(f) for f in tmp_path.iterdir()) == kept


def test_one_without_a_manifest_is_named_in_its_place_and_goes_first(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    folders = [saved(run, step, start=2) for step in (3, 6, 9)]
    for folder in folders[1:]:
        (folder / manifest.MANIFEST).unlink()
    assert checkpoints.find(recipe(tmp_path), "auto") == folders[0]
    told = [line.split(" which")[0] for line in capsys.readouterr().err.splitlines()]
    assert told == [f"--resume auto: passing over {folder}," for folder in (folders[2], folders[1])]
    newest = saved(run, 4, start=3)
    assert checkpoints.oldest_first(run) == [folders[0], newest, *folders[1:]]
    checkpoints.rotate(run, 2, [newest])
    assert sorted(checkpoints.step(f) for f in run.iterdir()) == [3, 4]


def begun(tmp_path: Path, step: int = 6, **facts: Any) -> Path:
    folder = saved(tmp_path / "run", step, **facts)
    (tmp_path / "run" / "recipe.yaml").write_text(recipe(tmp_path).dump())
    return folder


REFUSED = {
    "seed=3": "seed was 0 and is 3",
    "model.build.steps=3": "model.build.steps was 600 and is 3",
    "data.held_out=0.3": "data.held_out was 0.2 and is 0.3",
    "data.sources.easy.chain.size=64": "data.sources.easy.size was 1024 and is 64",
    "data.curriculum=[{source: easy, steps: 5}]": "data.curriculum was [('easy', 6)] and is [('easy', 5)]",
    "data.curriculum=null": "data.curriculum was [('easy', 6)] and is null",
    "reward=[exact_match: {}]": "reward was ['chain'] and is ['exact_match']",
    "shaping.clip=1.0": "shaping.clip was null and is 1.0",
    "sampler.temperature=0.9": "sampler.temperature was 1.0 and is 0.9",
    "optimizer.step_radius={}": "optimizer.step_radius was null and is",
    "trainer.per_device_train_batch_size=32": "trainer.per_device_train_batch_size was 64 and is 32",
    "trainer.learning_rate=0.1": "trainer.learning_rate was 0.001 and is 0.1",
    "objective.loss={gspo: {}}": "objective.loss was ['trl'] and is ['gspo']",
    "objective.loss.trl.type=grpo": "objective.loss.trl.type was 'dapo' and is 'grpo'",
    "objective.penalties.+renyi_bonus.coef=0.1": "objective.penalties was ['kl_ref'] and is ['kl_ref', 'renyi_bonus']",
    "objective.penalties.kl_ref.coef=0.1": "objective.penalties.kl_ref.coef was 'pid' and is 0.1",
    "objective.penalties.kl_ref.coef.pid.signal=reward": "kl_ref.coef.pid.signal was 'kl' and is 'reward'",
}


@pytest.mark.parametrize("change", REFUSED)
def test_what_would_be_another_run_is_refused_by_name(tmp_path: Path, change: str) -> None:
    with pytest.raises(ValueError) as caught:
        checkpoints.check(recipe(tmp_path, change), begun(tmp_path), 1)
    line = str(caught.value)
    assert REFUSED[change] in line and line.count(" was ") == 1 and "\n" not in line
    assert line.startswith(f"--resume {tmp_path / 'run' / 'checkpoint-6'}: ")


ALLOWED = [
    "trainer.max_steps=400",
    "trainer.save_steps=2",
    "trainer.save_total_limit=3",
    "tracking.log_every=5",
    "tracking.wandb={mode: offline}",
    "evaluate.samples=32",
    "launch={strategy: ddp, num_processes: 1}",
    "slurm.nodes=2",
    "model.attn_implementation=sdpa",
    "sampler.temperature=1.0",  # its default, said
    "trainer.num_iterations=1",
    "objective.penalties.kl_ref.divergence=reverse_kl",
    "critic.coef=0.3",  # read by another trainer
    "data.curriculum=[{source: easy, steps: 6}, {source: easy, steps: 60}]",  # the same up to here
]


@pytest.mark.parametrize("change", ALLOWED)
def test_where_and_how_long_it_runs_may_change(tmp_path: Path, change: str, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints.check(recipe(tmp_path, change), begun(tmp_path), 1)
    assert capsys.readouterr().err == ""


def test_a_number_of_the_objective_may_change_and_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints.check(recipe(tmp_path, "objective.penalties.kl_ref.coef.pid.target=0.3"), begun(tmp_path), 1)
    told = "--resume: goes on with a change: objective.penalties.kl_ref.coef.pid.target was 0.15 and is 0.3\n"
    assert capsys.readouterr().err == told


def test_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    folder = begun(tmp_path, world_size=2)
    checkpoints.check(recipe(tmp_path), folder, 2)
    with pytest.raises(ValueError, match="processes were 2 and are 1; seed was 0 and is 3"):
        checkpoints.check(recipe(tmp_path, "seed=3"), folder, 1)


def test_every_field_of_the_trainer_is_known_to_the_list_of_those_that_may_change() -> None:
    """A renamed field of TRL's must not fall out of the list unseen."""
    from entropostat.catalog import load as catalog
    from entropostat.recipe.resume import FREE_TRAINER

    assert {field.name for field in catalog().trainer["ppo"]} >= FREE_TRAINER
