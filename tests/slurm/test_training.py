"""Real training of a tiny recipe on the two-node cluster, two nodes with one process each: a run that Slurm interrupts is the run
that it leaves alone, to all printed digits."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
from support.ranks import QUIET, trained_by

TRAINING = """\
extends: entropostat:quickstart/pid-kl.yaml
name: tiny
launch: {{strategy: {strategy}, num_machines: 2}}
slurm: {{nodes: 2, gpus_per_node: 0, cpus_per_task: 4, time: '00:20:00'}}
model: {{build: {{lengths: [2], steps: 80, batch: 32}}}}
data: {{curriculum: [{{source: easy, steps: {steps}}}]}}
objective:
  weights:
    - clip_cov: {{fraction: 0.1, low: 0.0, high: 5.0}}
trainer: {{per_device_train_batch_size: 8}}
evaluate: {{every: 0, prompts: 2, samples: 2, k: [1], reference: false}}
"""
CLOCK = re.compile(r"time|seconds|_ms$|per_second")
"""Keys of what a clock measured: no run repeats it."""


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One pre-trained policy for all jobs of a test."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", QUIET["TORCH_EXTENSIONS_DIR"])


def write(strategy: str, steps: int) -> None:
    Path("recipe.yaml").write_text(TRAINING.format(strategy=strategy, steps=steps))


def measured(user: Any, job: str) -> list[dict[str, Any]]:
    """The rows of the run's steps and evaluations, without what a clock says."""
    rows = [row for row in user.rows(job, "metrics") if "train_loss" not in row]  # closes a start, and not a run
    return [{k: v for k, v in row.items() if not CLOCK.search(k)} for row in rows]


def same(user: Any, interrupted: str, whole: str, steps: int) -> None:
    """The whole run did something worth comparing, and the interrupted one did the same."""
    rows, wanted = measured(user, interrupted), measured(user, whole)
    trained = [row for row in wanted if "loss" in row]
    assert [row["step"] for row in trained] == list(range(1, steps + 1))
    for key in ("loss", "entropy", "reward", "grad_norm", "kl", "control/penalties.kl_ref.coef/output"):
        assert len({row[key] for row in trained if key in row}) > 2, key
    assert any(row["clip_cov/fraction"] > 0 for row in trained) and any("evaluate/easy/pass@1" in row for row in wanted)
    assert rows == wanted


def checkpoints(job: str) -> list[int]:
    """Steps of those that are there."""
    folders = (Path("runs") / f"tiny-{job}").glob("checkpoint-*")
    return sorted(int(folder.name.partition("-")[2]) for folder in folders)


@pytest.mark.timeout(500)
def test_a_training_that_an_urgent_one_pre_empts_loses_nothing(user, cache):
    write("ddp", steps=40)
    # The urgent job is the same training: it takes the nodes, and nothing interrupts it. It waits in the queue for the word, as
    # the other one would be done before this process could submit it.
    urgent = user.submit("slurm.partition=urgent", "slurm.extra=[--hold]")
    job = user.submit()
    user.step(job, 2, seconds=200)
    user.scontrol("release", urgent)
    user.again(job)
    user.until(urgent, "COMPLETED", seconds=200)
    assert user.until(job, "COMPLETED", seconds=200).restarts == "1"
    assert len(kept := checkpoints(job)) == 1 and 2 <= kept[0] < 40, user.log(job)
    for run in (job, urgent):
        trained_by(Path("runs") / f"tiny-{run}", "ddp", world=2)
    same(user, job, urgent, steps=40)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("strategy", ["zero2", "zero3"])
def test_shares_of_an_engine_survive_a_time_limit_and_a_second_warning(user, cache, strategy):
    write(strategy, steps=24)
    job = user.submit()
    whole = user.submit()
    user.step(job, 2, seconds=300)
    user.warn(job)
    run = Path("runs") / f"tiny-{job}"
    end = time.monotonic() + 60
    while not list(run.glob("*checkpoint*")) and time.monotonic() < end:
        time.sleep(0.01)
    user.warn(job)  # in the middle of the saving
    user.again(job)
    assert user.until(job, "COMPLETED", seconds=600).restarts == "1"
    user.until(whole, "COMPLETED", seconds=300)
    assert len(kept := checkpoints(job)) == 1 and 2 <= kept[0] < 24, user.log(job)
    for number in (job, whole):
        trained_by(Path("runs") / f"tiny-{number}", strategy, world=2)
    same(user, job, whole, steps=24)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_training_that_may_not_restart_goes_on_when_somebody_queues_it_again(user, cache):
    write("ddp", steps=24)
    job = user.submit("slurm.max_restarts=0")
    user.step(job, 2, seconds=200)
    user.warn(job)
    assert user.until(job, "FAILED", seconds=60).exit_code == "75:0"
    assert f"scontrol requeue {job} goes on" in user.log(job)
    steps = [row["step"] for row in measured(user, job) if "loss" in row]
    assert 2 <= steps[-1] < 24
    user.scontrol("requeue", job)
    user.again(job)
    user.until(job, "COMPLETED", seconds=200)
    assert [row["step"] for row in measured(user, job) if "loss" in row] == list(range(1, 25))


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_every_seed_of_an_array_trains_a_run_of_its_own(user, cache):
    write("single", steps=4)
    job = user.submit("--array", "3,5", "slurm.nodes=1", "launch.num_machines=1")
    rows_of = {}
    for seed in (3, 5):
        assert user.until(f"{job}_{seed}", "COMPLETED", seconds=300).exit_code == "0:0"
        run = Path("runs") / f"tiny-{job}_{seed}"
        assert json.loads((run / "run.json").read_text())["seed"] == seed
        assert json.loads((run / "summary.json").read_text())["finished"]
        trained_by(run, "single", world=1)
        rows_of[seed] = measured(user, f"{job}_{seed}")
    assert [row.get("step") for row in rows_of[3]] == [row.get("step") for row in rows_of[5]]
    assert all(a["entropy"] != b["entropy"] for a, b in zip(*rows_of.values(), strict=True) if "loss" in a)
