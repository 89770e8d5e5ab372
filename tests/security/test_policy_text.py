"""What a policy writes is judged and never run: every task of reasoning-gym, with attacks for answers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from entropostat.reward.harmless import EVALUATED, arithmetic, formula, literal

ATTACKS = Path(__file__).with_name("attack_reasoning_gym.py")


@pytest.fixture(scope="module")
def attacked(tmp_path_factory):
    folder = tmp_path_factory.mktemp("attack")
    canary, report = folder / "touched", folder / "report.json"
    done = subprocess.run(
        [sys.executable, ATTACKS, canary, report],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"PYTHONHASHSEED": "0"},
        stdin=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(report.read_text()) | {"touched": canary.exists()}


def test_no_task_of_reasoning_gym_runs_what_the_policy_writes(attacked):
    fired = {task: entry["fired"][:3] for task, entry in attacked["report"].items() if entry["fired"]}
    assert not fired
    assert not attacked["touched"]
    assert len(attacked["report"]) > 100
    assert {name for task in EVALUATED for name in (task, f"composite/{task}")} <= set(attacked["report"])


def test_no_task_of_reasoning_gym_hangs_on_a_tower_of_powers(attacked):
    assert attacked["slow"] == []


def test_right_answers_of_every_task_stay_right(attacked):
    wrong = {t: entry["right"] for t, entry in attacked["report"].items() if entry["right"] not in (1.0, None)}
    assert wrong == {}


@pytest.mark.parametrize("text", ["1 2 3", "[[0, 1], [1, 0]]", "['A', 'B']", "_ Q _\n_ _ Q", "ABCDE"])
def test_boards_and_lists_are_literals(text):
    assert literal(text)


@pytest.mark.parametrize(
    "text", ["x()", "a.b", "[x]", "oracle_answer", "__import__", "f'{x}'", "{1: 2}", "[1] * 9", "9" * 99]
)
def test_what_is_looked_up_called_or_computed_is_no_literal(text):
    assert not literal(text)


def test_sums_have_numbers_and_four_operators():
    assert arithmetic("(3 + 4) * 2 - 10 / 5")
    assert not any(arithmetic(text) for text in ("2**3", "2*x", "4!", "[1]", "9" * 99, "a.b", "\uff11+1"))


@pytest.mark.parametrize(
    "text", ["-3*X**3*sin(X) + C", "x**5/5 + log(2*x + 1)/2", "exp(-x)*(x + 1)", "(x + 1)**99", "2**x"]
)
def test_polynomials_and_integrals_are_formulas(text):
    assert formula(text)


@pytest.mark.parametrize(
    "text",
    [
        "9**9**9",
        "(9**99)**99*(9**99)**99*9**400",
        "open(x)",
        "x.y",
        "open",
        "f(x)",
        "sin(x, x)",
        "sin",
        "'x'",
        "9**101",
    ],
)
def test_large_powers_and_unknown_functions_are_no_formulas(text):
    assert not formula(text)


def test_a_scorer_that_is_not_known_to_evaluate_may_not():
    """As a task of a later reasoning-gym, or of somebody's own, might."""
    code = (
        "import reasoning_gym.games.countdown as c, entropostat.reward.verifiers.reasoning_gym as v\n"
        "from entropostat.data.sources.reasoning_gym import ReasoningGym\n"
        "from entropostat.reward.judge import judge\n"
        "from entropostat.reward.registry import VERIFIERS\n"
        "from reasoning_gym.arithmetic.chain_sum import ChainSumDataset\n"
        "verifier = VERIFIERS.build('reasoning_gym', {})\n"
        "verifier.prepare()\n"
        "example = ReasoningGym(task='chain_sum', size=1).load()[0]\n"
        "ChainSumDataset.score_answer = lambda self, answer, entry: eval(answer) and 1.0\n"
        "outcome = judge(verifier, 'print(42)', example)\n"
        "print(outcome.problem, outcome.message)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120, check=True)
    assert "42" not in done.stdout and done.stdout.startswith("error") and "--allow-code" in done.stdout
