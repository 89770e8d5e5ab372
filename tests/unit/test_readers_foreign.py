"""Logs of other trainers: the same numbers come out of all of them, and what is none is told in one line."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.foreign_logs import LOGS, STEPS, numbers, trl, verl

from entropostat.__main__ import main
from entropostat.metrics import find
from entropostat.readers import KINDS, read_all
from entropostat.readers.names import ALIKE, OPENRLHF, SAME, SWIFT, TRL, VERL, ours

TRAINERS = {"trl": TRL, "verl": VERL, "verl_lines": VERL, "swift": SWIFT, "openrlhf": OPENRLHF}


@pytest.mark.parametrize("kind", LOGS)
def test_every_log_gives_the_same_numbers_under_our_names(kind: str, tmp_path: Path) -> None:
    runs = read_all(LOGS[kind](tmp_path))
    assert [run.name for run in runs] == (["one - two", "other"] if kind == "csv" else [runs[0].name])
    for run in runs:
        assert run.damage == ()
        for key in ("entropy", "reward", "kl"):
            steps, values = run.series(key)
            assert steps == list(STEPS)
            assert values == pytest.approx([numbers(step)[key] for step in STEPS], rel=1e-6)
        assert run.trainer == TRAINERS.get(kind, "")


@pytest.mark.parametrize("kind", LOGS)
@pytest.mark.parametrize("command", ["diagnose", "compare", "report"])
def test_every_command_takes_every_log(
    kind: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = [
        command,
        str(LOGS[kind](tmp_path)),
        *(["--out", str(tmp_path / "out.html")] if command == "report" else []),
    ]
    assert main(words) == (1 if command == "diagnose" else 0)
    said = capsys.readouterr()
    assert said.err == ""
    assert {"diagnose": "!! collapse, steps ", "compare": "training entropy", "report": "out.html"}[command] in said.out
    if command == "report":
        page = (tmp_path / "out.html").read_text()
        assert '"absent":[{' in page and '"not_judged":{"wrong-tokens"' in page


@pytest.mark.parametrize("kind", ["verl", "tensorboard"])
def test_each_command_answers_within_two_seconds_without_torch(kind: str, tmp_path: Path) -> None:
    """Of a process of its own, start included: about .2 s. The folder of TRL's own trainer: tests/contract/test_doctor.py."""
    words = str(LOGS[kind](tmp_path))
    for command in ("diagnose", "compare", "report"):
        code = (
            f"import sys; from entropostat.__main__ import main; main([{command!r}, {words!r}]); "
            "assert 'torch' not in sys.modules"
        )
        begun = time.monotonic()
        done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        assert time.monotonic() - begun < 2


def test_a_name_of_another_trainer_is_none_of_ours_and_leads_to_one_of_ours() -> None:
    for theirs, mine in ((t, m) for table in SAME.values() for t, m in table.items()):
        assert find(theirs) is None or theirs == mine, theirs
        assert find(mine) is not None or mine in ("completions/min_length", "completions/max_length"), mine
        assert ours(f"train/{theirs}") == ours(theirs) == mine
    for theirs in ALIKE:
        assert ours(theirs) == theirs and find(theirs) is None
    assert ours("rewards/accuracy") == "rewards/accuracy/mean" == ours("rewards/accuracy/mean")
    assert ours("val-core/openai/gsm8k/acc/best@8/mean") == "evaluate/openai-gsm8k/pass@8"
    assert ours("val-core/math/acc/mean@16") == ours("val/test_score/math") == "evaluate/math/pass@1"
    assert ours("val-aux/math/score/mean@16") == "val-aux/math/score/mean@16"


def test_what_looks_alike_keeps_its_name(tmp_path: Path) -> None:
    (run,) = read_all(verl(tmp_path))
    assert run.series("kl")[1][-1] == pytest.approx(0.8) and run.series("actor/ppo_kl")[1][-1] == 9.0


def test_a_folder_of_trl_gives_its_newest_checkpoint_with_evaluations_and_vocabulary(tmp_path: Path) -> None:
    (run,) = read_all(trl(tmp_path / "run"))
    assert (run.name, run.vocabulary, run.rows[-1]["step"]) == ("run", 1000, 80)
    assert run.rows[-1]["eval_reward"] == 0.3 and len(run.rows) == 80
    newest = tmp_path / "run" / "checkpoint-80" / "trainer_state.json"
    newest.write_text(newest.read_text()[:500])
    (older,) = read_all(tmp_path / "run" / "checkpoint-40")
    assert older.rows[-1]["step"] == 40
    with pytest.raises(ValueError, match=r"checkpoint-80/trainer_state\.json: no JSON"):
        read_all(tmp_path / "run" / "checkpoint-80")
    (tmp_path / "run" / "trainer_state.json").write_text(
        json.dumps({"global_step": 41, "log_history": [{"step": 41, "reward": 1.0}]})
    )
    (run,) = read_all(tmp_path / "run")
    assert run.rows[-1]["step"] == 41 and "no JSON" in run.damage[0]


HOSTILE = {
    "a.csv": "name,value\nx,1\n",
    "b.csv": "step,text\n1,words\n",
    "c.jsonl": '{"reward": 1.0}\n',
    "d.log": "nothing to see\n" * 50,
    "events.out.tfevents.1": "\x00" * 100,
    "e.log": "step:99999999999 - actor/entropy:0.5\nstep:-1 - a:1\nstep:x - b:2\n",
    "trainer_state.json": '{"log_history": 7}',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_is_no_log_is_said_in_one_line(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / name).write_text(HOSTILE[name])
    assert main(["diagnose", str(tmp_path / name)]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and name in said


def test_the_error_of_an_empty_folder_says_what_is_read(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as error:
        read_all(tmp_path)
    assert str(error.value).endswith(KINDS)


def test_a_log_with_neither_entropy_nor_reward_is_no_healthy_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "some.jsonl").write_text("".join(json.dumps({"step": i, "loss": 0.1}) + "\n" for i in range(50)))
    assert main(["diagnose", str(tmp_path / "some.jsonl")]) == 2
    assert "neither entropy nor reward in it (loss): nothing can be judged" in capsys.readouterr().err


def test_lines_without_a_step_are_counted_and_said_to_be(tmp_path: Path) -> None:
    (tmp_path / "out.txt").write_text("{'loss': 0.1, 'reward': nan}\n{'loss': 0.2, 'reward': 0.5}\n")
    (run,) = read_all(tmp_path / "out.txt")
    assert run.rows == [{"step": 1, "loss": 0.1, "reward": None}, {"step": 2, "loss": 0.2, "reward": 0.5}]
    assert run.damage == (f"{tmp_path / 'out.txt'}: its lines bear no step, and are counted instead",)


def test_a_growing_log_of_another_trainer_is_followed(tmp_path: Path) -> None:
    file = verl(tmp_path)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:20]))
    words = [sys.executable, "-m", "entropostat", "diagnose", str(file), "--live", "on"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:
        try:
            time.sleep(1.5)
            with file.open("a") as stream:
                stream.writelines(lines[20:])
            assert process.stdout is not None
            assert "collapse" in process.stdout.readline()
            process.send_signal(signal.SIGINT)
            assert process.wait(120) == 1
        finally:
            process.kill()  # or the block waits for it
