"""Whatever a verifier raises or returns costs its completion and not the run."""

from __future__ import annotations

import asyncio
import math

import pytest

from entropostat.data.example import Example
from entropostat.reward.judge import Outcome, judge, said
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifier import Verifier
from entropostat.reward.verifiers.function import Function
from entropostat.rl.info import LARGEST_REWARD

HOSTILE = """
import asyncio, os, signal, sys

class Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")
    __repr__ = __str__

class Crowd(BaseException):
    def __str__(self):
        raise KeyboardInterrupt

class Number(float):
    def __float__(self):
        raise SystemExit(4)

def score(completion, example):
    if completion == "mute": raise Mute()
    if completion == "crowd": raise Crowd()
    if completion == "base": raise BaseException("base")
    if completion == "cancelled": raise asyncio.CancelledError()
    if completion == "interrupt": raise KeyboardInterrupt()
    if completion == "generator": raise GeneratorExit()
    if completion == "exit": sys.exit(0)
    if completion == "group": raise ExceptionGroup("many", [ValueError()] * 3) if sys.version_info >= (3, 11) else ValueError()
    if completion == "os_exit": os._exit(0)
    if completion == "abort": os.abort()
    if completion == "long": raise ValueError("x" * 10**7)
    if completion == "escape": raise ValueError("\\x1b]0;owned\\x07")
    if completion == "number": return Number(1)
    if completion == "huge_int": return 10**400
    if completion == "1e308": return 1e308
    if completion == "1e20": return 1e20
    if completion == "recursion": return score(completion, example)
    if completion == "memory": raise MemoryError
    if completion == "stop": raise StopIteration
    if completion == "lambda": return lambda: 1
    return 1.0
"""
FAULTS = [
    "mute",
    "crowd",
    "base",
    "cancelled",
    "interrupt",
    "generator",
    "exit",
    "group",
    "os_exit",
    "abort",
    "long",
    "escape",
    "number",
    "huge_int",
    "1e308",
    "1e20",
    "recursion",
    "memory",
    "stop",
    "lambda",
]


@pytest.fixture(scope="module")
def scorer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "raising_reward.py").write_text(HOSTILE)
    verifier = Function(path="raising_reward:score", folder=str(folder), timeout=5.0)
    with_one = Scorer({"mine": verifier}, allow_code=True, workers=1)
    yield with_one
    with_one.close()


@pytest.mark.parametrize("fault", FAULTS)
def test_one_completion_is_lost_and_the_others_are_judged(scorer, fault):
    outcomes = scorer.score("mine", ["fine", fault, "fine"], [Example("p")] * 3)
    assert [outcome.score for outcome in outcomes] == [1.0, None, 1.0]
    assert outcomes[1].problem in ("error", "timeout") and outcomes[1].message
    assert len(outcomes[1].message) < 700 and outcomes[1].message.isprintable()


class Raising(Verifier):
    """Judged in the trainer's own process."""

    def __init__(self, error):
        object.__setattr__(self, "error", error)
        object.__setattr__(self, "weight", 1.0)

    def score(self, completion, example):
        raise self.error


@pytest.mark.parametrize("error", [BaseException(), asyncio.CancelledError(), GeneratorExit(), SystemExit(2)])
def test_in_the_trainer_too(error):
    assert judge(Raising(error), "", Example("p")).problem == "error"


def test_ctrl_c_in_the_trainer_is_the_users():
    with pytest.raises(KeyboardInterrupt):
        judge(Raising(KeyboardInterrupt()), "", Example("p"))


class Constant(Verifier):
    def __init__(self, value, weight=1.0):
        object.__setattr__(self, "value", value)
        object.__setattr__(self, "weight", weight)
        object.__setattr__(self, "weights", {})

    def score(self, completion, example):
        return self.value


@pytest.mark.parametrize("value", [1e308, -1e308, 1e20, 10**400, 2 * LARGEST_REWARD, math.inf, math.nan])
def test_rewards_that_float32_cannot_learn_from_are_said(value):
    outcome = judge(Constant(value), "", Example("p"))
    assert outcome.score is None and outcome.problem == "error" and "returned" in outcome.message


def test_a_weight_counts_towards_the_size_of_a_reward():
    assert judge(Constant(1e10), "", Example("p")) == Outcome(1e10)
    assert "weight" in judge(Constant(1e10, weight=1e10), "", Example("p")).message


def test_text_of_anything_is_short_and_printable():
    assert said("a\n\x1b[31mb") == "a \\x1b[31mb"
    assert len(said("x" * 10**6)) <= 500
