"""`entropostat train` as a user runs it: the quickstart recipes, cut short."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from support.run_files import rows

ROOT = Path(__file__).parents[2]
PLAIN, PID = (str(ROOT / "recipes" / "quickstart" / name) for name in ("plain.yaml", "pid-kl.yaml"))
SHORT = [
    "model.build.steps=20",
    "data.curriculum=[{source: easy, steps: 4}, {source: hard, steps: 4}]",
    "trainer.per_device_train_batch_size=16",
    "evaluate.prompts=4",
    "evaluate.samples=4",
    "evaluate.k=[1, 4]",
    "evaluate.every=4",
]


def command(*words: str) -> list[str]:
    return [sys.executable, "-W", "ignore", "-m", "entropostat", *words]


def environment(cache: Path) -> dict[str, str]:
    return {**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(cache)}


@pytest.fixture(scope="module")
def cache(tmp_path_factory: Any) -> Path:
    return tmp_path_factory.mktemp("cache")


def test_two_recipes_train_side_by_side_and_are_compared(tmp_path: Path, cache: Path) -> None:
    done = subprocess.run(
        command("train", PLAIN, PID, f"output_dir={tmp_path}", *SHORT),
        env=environment(cache), capture_output=True, check=False, text=True, timeout=400,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert "quickstart-plain" in done.stdout and "quickstart-pid-kl" in done.stdout
    assert "hard from step 4" in done.stdout
    assert (tmp_path / "compare.png").stat().st_size > 20_000

    for name in ("quickstart-plain", "quickstart-pid-kl"):
        folder = tmp_path / name
        logged = rows(folder)
        steps = [row["step"] for row in logged if "loss" in row]
        assert steps == list(range(1, 9)), "every training step is logged, also where an evaluation was"
        evaluated = [row for row in logged if "evaluate/hard/pass@1" in row]
        assert [row["step"] for row in evaluated] == [0, 4, 8]
        assert {"evaluate/easy/pass@4", "evaluate/hard/share/working", "evaluate/hard/entropy_ratio"} <= set(
            evaluated[0]
        )
        assert evaluated[0]["evaluate/hard/entropy_ratio"] == pytest.approx(1.0, abs=1e-6)
        facts = json.loads((folder / "run.json").read_text())
        assert facts["seed"] == 0 and facts["versions"]["trl"] and facts["stages"] == {"0/easy": 0, "1/hard": 4}
        assert (folder / "final" / "model.safetensors").is_file()
        assert facts["vocabulary"] == 19 and facts["k"] == 8
        shown = [json.loads(line) for line in (folder / "completions.jsonl").read_text().splitlines()]
        assert len(shown) >= 8
        for row in shown:
            spoken = [token for token in row["tokens"] if not token.startswith("<")]  # the text leaves special ones out
            assert "".join(spoken) == row["completion"] and len(row["tokens"]) == len(row["entropies"])
        assert [json.loads(x)["step"] for x in (folder / "histograms.jsonl").read_text().splitlines()] == [1, 5]
        again = subprocess.run(
            command("plan", str(folder / "recipe.yaml")), capture_output=True, check=False, text=True, timeout=60
        )
        assert again.returncode == 0, again.stderr

    controlled = [row for row in rows(tmp_path / "quickstart-pid-kl") if "loss" in row]
    outputs = [row["control/penalties.kl_ref.coef/output"] for row in controlled]
    assert len(set(outputs)) > 1, "the controller never moved"
    assert all(row["kl"] >= 0 for row in controlled)


def test_ctrl_c_saves_and_the_printed_command_goes_on(tmp_path: Path, cache: Path) -> None:
    words = ["train", PID, f"output_dir={tmp_path}", *SHORT[:1], *SHORT[2:], "evaluate.every=0"]
    words.append("data.curriculum=[{source: easy, steps: 400}]")
    process = subprocess.Popen(command(*words), env=environment(cache), stderr=subprocess.PIPE, text=True)
    folder = tmp_path / "quickstart-pid-kl"
    deadline = time.time() + 200
    while time.time() < deadline and process.poll() is None:
        if (folder / "metrics.jsonl").is_file() and sum("loss" in row for row in rows(folder)) >= 2:
            break
        time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == 130, errors[-3000:]
    stopped = max(row["step"] for row in rows(folder) if "loss" in row)
    assert f"stopped at step {stopped} of 400" in errors and f"--resume {folder}/checkpoint-{stopped}" in errors
    assert (folder / f"checkpoint-{stopped}" / "trainer_state.json").is_file()

    end = 4 * (stopped // 4 + 2)  # whole generations
    words[-1] = f"data.curriculum=[{{source: easy, steps: {end}}}]"
    done = subprocess.run(
        command(*words, "--resume", "last"),
        env=environment(cache),
        capture_output=True,
        check=False,
        text=True,
        timeout=200,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    steps = [row["step"] for row in rows(folder) if "loss" in row]
    assert steps == list(range(1, max(steps) + 1)) and max(steps) >= end


def test_a_run_is_never_written_over(tmp_path: Path) -> None:
    from entropostat.lock import Lock
    from entropostat.trainers.state.run_folder import new_run_folder

    with Lock() as first, Lock() as second:
        folder = new_run_folder(tmp_path / "run", first)
        (folder / "metrics.jsonl").write_text("{}")
        assert new_run_folder(tmp_path / "run", second).name == "run-2"
