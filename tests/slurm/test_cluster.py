"""Jobs on a real cluster of two nodes: where they run, what they are told, and what becomes of them."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(150)


def test_two_nodes_meet_at_the_address_and_port_they_are_told(user):
    job = user.submit(steps=3)
    state = user.until(job, "COMPLETED")
    assert state.exit_code == "0:0" and state.nodes == "n[1-2]" and state.restarts == "0"
    starts = sorted(user.rows(job, "starts"), key=lambda row: row["rank"])
    assert [(row["rank"], row["node"], row["met"]) for row in starts] == [(0, "n1", [0, 1]), (1, "n2", [1])]
    assert {(row["address"], row["port"]) for row in starts} == {("127.0.0.1", 20000 + int(job) % 20000)}
    assert all(row["words"][-1] == f"name='tiny-{job}'" and row["cwd"] == str(Path.cwd()) for row in starts)
    assert Path(f"runs/slurm/tiny-{job}.sbatch").read_text().startswith("#!/bin/bash\n#SBATCH")
    code, out, _ = user.call("status", job)
    assert code == 0 and "COMPLETED" in out and "3/3" in out and out.rstrip().endswith(f"runs/tiny-{job}")


def test_every_task_of_an_array_has_its_seed_and_restarts_alone(user):
    job = user.submit("--array", "3,5", steps=40, seconds=0.1)
    first, second = f"{job}_3", f"{job}_5"
    user.step(first, 1)
    user.step(second, 1)
    # The task that Slurm starts last has the id of the array itself.
    user.warn(second)
    user.again(second)
    assert user.until(second, "COMPLETED").restarts == "1"
    assert user.until(first, "COMPLETED").restarts == "0"
    assert {row["seed"] for row in user.rows(first, "starts")} == {"3"}
    assert [row["seed"] for row in user.rows(second, "starts") if row["rank"] == 0] == ["5", "5"]
    assert [row["step"] for row in user.rows(second, "metrics")] == list(range(1, 41))


def test_every_task_of_a_file_has_its_line(user):
    Path("tasks.txt").write_text("seed=7\n'tracking.trackio.project=\"$(touch OWNED); %j\"'\n")
    job = user.submit("--tasks", "tasks.txt")
    for task in ("0", "1"):
        user.until(f"{job}_{task}", "COMPLETED")
    first, second = (user.rows(f"{job}_{task}", "starts") for task in (0, 1))
    assert [row["words"][4:] for row in first] == [[f"name='tiny-{job}_0'", "seed=7"]] * 2
    assert [row["words"][4:] for row in second] == [
        [f"name='tiny-{job}_1'", 'tracking.trackio.project="$(touch OWNED); %j"']
    ] * 2


def test_a_sweep_is_an_array_and_a_comparison_behind_it(user):
    words = ["slurm.setup=[export PAYLOAD_STEPS=1]", "--grid", "sampler.temperature=0.5,1", "--seeds", "4", "--slurm"]
    code, out, err = user.call("sweep", "recipe.yaml", *words)
    assert code == 0, err
    array, compare = re.search(r"^job +(\d+)$", out, re.MULTILINE)[1], re.search(r"\(job (\d+)\)", out)[1]
    user.until(compare, "COMPLETED")
    assert {state.state for state in user.states(array).values()} <= {"COMPLETED"}
    folder = Path("runs/tiny-sweep").absolute()
    said = json.loads((folder / "compare.log").read_text())
    assert said == [*(str(folder / f"tiny-{array}_{task}") for task in (0, 1)), "--png", str(folder / "compare.png")]
    first, second = (user.rows(f"{array}_{task}", "starts", "tiny-sweep") for task in (0, 1))
    assert first[0]["words"][-2:] == ["sampler.temperature=0.5", "seed=4"]
    assert second[0]["words"][-2:] == ["sampler.temperature=1", "seed=4"]


def test_the_exit_code_is_the_trainings_and_decides_what_follows(user):
    job = user.submit(exit=3, seconds=1)
    never, always = user.submit("--dependency", job), user.submit("--dependency", f"afterany:{job}")
    state = user.until(job, "FAILED")
    assert (state.exit_code, state.restarts) == ("3:0", "0")
    user.until(never, "CANCELLED")
    user.until(always, "COMPLETED")
    assert not user.rows(never, "starts")


def test_a_warned_job_saves_once_queues_again_and_goes_on(user):
    job = user.submit(steps=30, seconds=0.1, saving=2)
    user.step(job, 2)
    user.warn(job)
    saving = Path("runs") / f"tiny-{job}" / "saving"
    end = time.monotonic() + 20
    while not saving.exists() and time.monotonic() < end:
        time.sleep(0.05)
    assert saving.with_name("checkpoint").read_text() == "half of it"
    user.warn(job)  # in the middle of the saving
    user.again(job)
    kept = int(saving.with_name("checkpoint").read_text())
    state = user.until(job, "COMPLETED")
    assert (state.restarts, state.exit_code) == ("1", "0:0")
    starts = [row for row in user.rows(job, "starts") if row["rank"] == 0]
    assert ["--resume" in row["words"] for row in starts] == [False, True]
    assert starts[1]["words"][-2:] == ["--resume", "auto"]
    assert 2 <= kept < 30 and [row["step"] for row in user.rows(job, "metrics")] == list(range(1, 31))


def test_slurm_itself_warns_before_the_time_limit(user):
    job = user.submit("slurm.time='1'", "slurm.signal_lead=50", steps=900, seconds=0.1)
    user.step(job, 1)
    user.until(job, "PENDING", seconds=70)  # it looks at time limits twice a minute
    assert 1 < user.rows(job, "metrics")[-1]["step"] < 600
    assert "TIME LIMIT" not in user.log(job)


def test_a_job_that_is_done_when_the_warning_comes_is_not_restarted(user):
    job = user.submit(steps=2, seconds=1)
    user.step(job, 1)
    user.warn(job)
    state = user.until(job, "COMPLETED")
    assert (state.restarts, state.exit_code) == ("0", "0:0")


def test_an_urgent_job_takes_the_nodes_and_the_run_goes_on_after_it(user):
    job = user.submit(steps=30, seconds=0.1)
    user.step(job, 2)
    words = ["sbatch", "--parsable", "--partition=urgent", "--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=4"]
    urgent = subprocess.check_output([*words, "--output=/dev/null", "--wrap", "sleep 1"], text=True, timeout=30).strip()
    user.again(job)
    user.until(urgent, "COMPLETED")
    assert user.until(job, "COMPLETED").restarts == "1"
    assert [row["step"] for row in user.rows(job, "metrics")] == list(range(1, 31))


def test_the_cap_ends_the_restarts_with_an_exit_code_of_its_own(user):
    job = user.submit("slurm.max_restarts=1", steps=100, seconds=0.1)
    user.step(job, 1)
    user.warn(job)
    user.again(job)
    user.until(job, "RUNNING")
    seen = user.rows(job, "metrics")[-1]["step"]
    user.step(job, seen + 1)
    user.warn(job)
    state = user.until(job, "FAILED")
    assert (state.exit_code, state.restarts) == ("75:0", "1")
    assert "unfinished after 1 restarts" in user.log(job) and f"scontrol requeue {job}" in user.log(job)


def test_a_crash_after_the_warning_is_not_repeated(user):
    job = user.submit(steps=2, seconds=1, exit=4)
    user.step(job, 1)
    user.warn(job)
    state = user.until(job, "FAILED")
    assert (state.exit_code, state.restarts) == ("4:0", "0")


def test_every_node_sees_the_gpus_it_was_promised(user):
    job = user.submit("slurm.gpus_per_node=2", "slurm.cpus_per_task=2")
    user.until(job, "COMPLETED")
    assert {row["node"]: row["gpus"] for row in user.rows(job, "starts")} == {"n1": "0,1", "n2": "0,1"}


def test_a_server_runs_on_its_own_node_and_ends_with_the_training(user):
    job = user.submit(
        "slurm={nodes: 1, vllm_nodes: 1, gpus_per_node: 2}",
        "launch.num_machines=1",
        "model={path: some/model, build: null}",
        "trainer.use_vllm=true",
        "trainer.vllm_mode=server",
        "trainer.vllm_tensor_parallel_size=2",
    )
    user.until(job, "COMPLETED")
    (start,) = user.rows(job, "starts")
    assert (start["node"], start["server"]["node"]) == ("n1", "n2")
    words = start["server"]["words"]
    assert words[:4] == ["-m", "vllm.entrypoints.cli.main", "serve", "some/model"]
    assert words[words.index("--tensor-parallel-size") + 1] == "2"


def test_what_no_node_can_hold_is_refused_at_once(user):
    code, _, err = user.call("submit", "recipe.yaml", "slurm.gpus_per_node=64")
    assert code == 1 and "the cluster cannot run this job" in err
    code, out, err = user.call("submit", "recipe.yaml", "--dry-run")
    assert code == 0 and out.startswith("#!/bin/bash") and err.startswith("could start at 20")
    assert not list(Path("runs").rglob("*.sbatch"))


def test_status_lists_what_was_submitted(user):
    assert user.call("status", "999999")[0] == 2  # neither queued nor in the accounts, which this cluster does not keep
    job = user.submit(steps=50, seconds=0.1)
    user.step(job, 1)
    subprocess.run(["sbatch", "--hold", "--output=/dev/null", "--wrap", "true"], check=True, timeout=30)
    code, out, _ = user.call("status")
    assert code == 0 and f"\n{job} " in out and "RUNNING" in out and "/50" in out
    assert all("runs/tiny-" in line or "tiny" in line for line in out.splitlines()[1:] if line.startswith(job))
