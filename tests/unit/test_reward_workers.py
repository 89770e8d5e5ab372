"""A verifier that hangs, crashes, is killed or returns nonsense costs its own completion and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest
from support.processes import alive

from entropostat.data.example import Example
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.function import Function

FAULTY = '''
import os, signal, time

def score(completion, example, **options):
    """The completion says how to misbehave."""
    if completion == "hang":
        while True:
            time.sleep(0.1)
    if completion == "raise":
        raise ZeroDivisionError("on purpose")
    if completion == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if completion == "exit":
        raise SystemExit(3)
    if completion == "pid":
        return float(os.getpid())
    return {"nan": float("nan"), "inf": float("inf"), "text": "1.0", "none": None, "true": True}.get(completion, 0.5)
'''


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("user")
    (folder / "faulty_reward.py").write_text(FAULTY)
    sys.path.insert(0, str(folder))
    scorer = Scorer({"mine": Function(path="faulty_reward:score", timeout=1.5)}, allow_code=True, workers=2)
    yield scorer
    scorer.close()
    sys.path.remove(str(folder))


def run(scorer, *completions):
    examples = [Example(prompt="p", id=f"e{i}") for i in range(len(completions))]
    return scorer.score("mine", list(completions), examples)


def test_good_scores_pass_through(scorer):
    assert [o.score for o in run(scorer, "fine", "true", "none")] == [0.5, 1.0, None]
    assert all(o.problem is None for o in run(scorer, "none"))


@pytest.mark.parametrize("bad", ["raise", "nan", "inf", "text"])
def test_fault_costs_one_completion(scorer, bad):
    before = scorer.problems["mine"]["error"]
    outcomes = run(scorer, "fine", bad, "fine")
    assert [o.score for o in outcomes] == [0.5, None, 0.5]
    assert outcomes[1].problem == "error"
    assert scorer.problems["mine"]["error"] == before + 1


def test_hang_is_a_timeout_and_others_still_score(scorer):
    begin = time.monotonic()
    outcomes = run(scorer, "fine", "hang", "fine", "hang", "fine")
    assert [o.problem for o in outcomes] == [None, "timeout", None, "timeout", None]
    assert [o.score for o in outcomes] == [0.5, None, 0.5, None, 0.5]
    assert time.monotonic() - begin < 20


@pytest.mark.parametrize("death", ["kill", "exit"])
def test_pool_survives_the_death_of_its_workers(scorer, death):
    outcomes = run(scorer, death, death, death, "fine")
    assert [o.problem for o in outcomes] == ["error", "error", "error", None]
    assert [o.score for o in run(scorer, *["fine"] * 8)] == [0.5] * 8


def test_pool_survives_an_idle_worker_killed_from_outside(scorer):
    pids = {int(o.score) for o in run(scorer, *["pid"] * 8)}
    assert os.getpid() not in pids
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    outcomes = run(scorer, *["fine"] * 8)
    assert [o.score for o in outcomes] == [0.5] * 8
    assert [o.score for o in run(scorer, *["fine"] * 8)] == [0.5] * 8


def test_first_error_is_logged_once_with_verifier_and_example(scorer, caplog):
    fresh = Scorer(scorer.verifiers, allow_code=True)
    fresh._workers = scorer._workers
    with caplog.at_level("WARNING"):
        run(fresh, "fine", "raise", "raise")
        run(fresh, "raise")
    assert len(caplog.records) == 1
    message = caplog.records[0].getMessage()
    assert "mine" in message and "e1" in message and "ZeroDivisionError: on purpose" in message


def test_user_code_needs_permission():
    with pytest.raises(PermissionError, match="--allow-code"):
        Scorer({"mine": Function(path="faulty_reward:score")})


def test_missing_user_function_is_an_error_of_its_completions():
    scorer = Scorer({"mine": Function(path="entropostat:no_such_thing")}, allow_code=True, workers=1)
    outcome = run(scorer, "x")[0]
    scorer.close()
    assert outcome.problem == "error" and "no_such_thing" in outcome.message


def test_a_process_that_scored_ends_and_takes_its_workers_along(tmp_path):
    (tmp_path / "faulty_reward.py").write_text(FAULTY)
    script = tmp_path / "script.py"
    script.write_text(
        "from entropostat.data.example import Example\n"
        "from entropostat.reward.scoring import Scorer\n"
        "from entropostat.reward.verifiers.function import Function\n"
        "if __name__ == '__main__':\n"
        "    scorer = Scorer({'f': Function(path='faulty_reward:score')}, allow_code=True, workers=2)\n"
        "    print(*[int(o.score) for o in scorer.score('f', ['pid'] * 4, [Example('p')] * 4)])\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60, check=True)
    deadline = time.monotonic() + 10
    pids = {int(pid) for pid in done.stdout.split()}
    while any(alive(pid) for pid in pids):
        assert time.monotonic() < deadline, "worker processes outlived the run"
        time.sleep(0.1)


def test_reward_and_data_import_no_torch():
    code = (
        "import sys; from entropostat.reward.registry import VERIFIERS; from entropostat.data.registry import SOURCES;"
        "import entropostat.reward.scoring, entropostat.data.dataset, entropostat.data.curriculum;"
        "VERIFIERS.names(); SOURCES.names();"
        "print([m for m in ('torch', 'transformers', 'datasets', 'sympy', 'reasoning_gym') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.strip() == "[]"
