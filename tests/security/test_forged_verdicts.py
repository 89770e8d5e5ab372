"""A worker that was taken over may send the trainer what it likes: nothing of it is run, and one completion is lost."""

from __future__ import annotations

import json
import math
import resource
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from entropostat.data.example import Example
from entropostat.reward.judge import LARGEST, Outcome
from entropostat.reward.verdicts import ANSWER, MOST, Forged, decoded, encoded
from entropostat.reward.verifiers.function import Function
from entropostat.reward.workers import Workers

HOSTILE = '''
import json, multiprocessing.reduction, os, pickle, struct, sys, threading, time

class Bomb:
    def __init__(self, file):
        self.file = file

    def __reduce__(self):
        return open, (self.file, "w")

def score(completion, example):
    """Evaluates the completion beside the pipe to the trainer, as code that got out of its verifier would."""
    frame = sys._getframe()
    while frame.f_code.co_name != "serve":
        frame = frame.f_back
    pipe, number = frame.f_locals["done"].fileno(), frame.f_locals["number"]

    def send(data):
        while data:
            data = data[os.write(pipe, data):]

    def flood(piece):
        while True:
            send(piece)

    def framed(data):
        return struct.pack("!i", len(data)) + data

    if completion != "fine":
        exec(completion, {**globals(), **locals()})
        time.sleep(0.2)
    return 1.0
'''
VERDICT = "json.dumps([{}, {}, {}, None, {}, {}]).encode() + b'\\n'"


def verdict(number="number", score="1.0", answer="None", problem="None", message="''") -> str:
    return f"send({VERDICT.format(number, score, answer, problem, message)})"


FORGED = {
    "a pickle": "send(pickle.dumps(Bomb({canary!r})))",
    "a pickle as a line": "send(pickle.dumps(Bomb({canary!r})) + b'\\n')",
    "a pickle as multiprocessing sends it": "send(framed(pickle.dumps(Bomb({canary!r}))) * 3)",
    "more than a line may have": f"send(b'[' + b'1,' * {MOST})",
    "no end": "flood(b'x' * 65536)",
    "no end of lines": "flood(b'x\\n' * 65536)",
    "the beginning of a line": "send(b'[1, '); time.sleep(60)",
    "a byte now and then": "[(send(b'['), time.sleep(0.1)) for _ in range(600)]",
    "nothing": "time.sleep(60)",
    "a pipe that is closed": "os.close(pipe); time.sleep(60)",
    "deep nesting": "send(b'[' * 500000 + b'\\n')",
    "a number of many digits": "send(b'[1' + b'0' * 500000 + b']\\n')",
    "another number": verdict(number="number + 1"),
    "true for a number": verdict(number="True"),
    "infinity": "send(b'[%d, 1e999, null, null, null, \"\"]\\n' % number)",
    "a score that is text": verdict(score="'1'"),
    "a score that is true": verdict(score="True"),
    "a score that is a list": verdict(score="[1.0]"),
    "a score beyond float32": verdict(score="1e300"),
    "a score that is nan": "send(b'[%d, NaN, null, null, null, \"\"]\\n' % number)",
    "an answer that is a number": verdict(answer="5"),
    "an answer that is long": verdict(answer="'a' * 500000"),
    "a message that is null": verdict(message="None"),
    "a problem of another kind": verdict(problem="'fatal'"),
    "too few": "send(b'[%d, 1.0]\\n' % number)",
    "an object": "send(b'{{}}\\n')",
    "no text": "send(b'\\xff\\xfe[\\n')",
    "the first lines again": "send(b'begun\\nready\\n')",
}

SILENT = ("the beginning of a line", "a byte now and then", "nothing")
"""Of these only the time-out tells."""


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("forging")
    (folder / "forging_reward.py").write_text(HOSTILE)
    verifier = Function(path="forging_reward:score", folder=str(folder), timeout=2.0)
    workers = Workers([verifier], count=1, sealed=True)
    yield verifier, workers, folder / "canary"
    workers.close()


@pytest.mark.parametrize("kind", FORGED)
def test_what_is_no_verdict_costs_one_completion(hostile, kind):
    verifier, workers, canary = hostile
    texts = ["fine", FORGED[kind].format(canary=str(canary)), "fine"]
    begin, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outcomes = workers.run([(verifier, text, Example("p")) for text in texts])
    assert [outcome.score for outcome in outcomes] == [1.0, None, 1.0], outcomes
    assert outcomes[1].problem == ("timeout" if kind in SILENT else "error") and 0 < len(outcomes[1].message) < 200
    assert not canary.exists()
    assert time.monotonic() - begin < 10
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 100_000  # kB


@pytest.mark.parametrize("later", [verdict(), "send(b'x')", "send(b'x' * 3_000_000)", "os._exit(1)"])
def test_a_worker_that_was_taken_over_cannot_harm_the_completions_that_come_after(hostile, later):
    verifier, workers, _ = hostile
    leave = f"threading.Timer(0.05, lambda: {later.split(';')[0]}).start(); {verdict(score='0.25')}; time.sleep(0.5)"
    texts = ["fine", leave, "time.sleep(0.2)", "fine", "fine"]
    outcomes = workers.run([(verifier, text, Example("p")) for text in texts])
    assert [outcome.score for outcome in outcomes] == [1.0, 0.25, 1.0, 1.0, 1.0], outcomes


@given(
    st.one_of(st.none(), st.floats(-LARGEST, LARGEST), st.integers(-5, 5).map(float)),
    st.one_of(st.none(), st.text()),
    st.one_of(st.none(), st.text(max_size=500)),
)
def test_an_honest_verdict_arrives_as_it_was(score, answer, strategy):
    outcome = Outcome(score, answer, strategy)
    assert decoded(encoded(7, outcome), 7, 1.0) == outcome


def test_an_honest_fault_arrives_as_it_was():
    outcome = Outcome(problem="error", message="ValueError: \\x1b[31m")
    assert decoded(encoded(7, outcome), 7, 1.0) == outcome


def test_long_answers_are_still_told_apart():
    long = ["\U0001f600" * (ANSWER + extra) for extra in (0, 1, 2)]
    lines = [encoded(1, Outcome(1.0, answer)) for answer in long]
    assert all(len(line) <= MOST for line in lines)
    answers = [decoded(line, 1, 1.0).answer for line in lines]
    assert answers[0] == long[0] and len(set(answers)) == 3
    assert decoded(encoded(1, Outcome(1.0, long[1])), 1, 1.0).answer == answers[1]


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)


@given(
    st.one_of(
        st.binary(),
        JSON.map(lambda drawn: json.dumps(drawn).encode()),
        st.lists(JSON, min_size=6, max_size=6).map(lambda drawn: json.dumps([1, *drawn[1:]]).encode()),
    )
)
def test_any_bytes_are_a_usable_verdict_or_refused(line):
    try:
        outcome = decoded(line, 1, 1.0)
    except Forged:
        return
    assert outcome.score is None or (
        type(outcome.score) is float and math.isfinite(outcome.score) and abs(outcome.score) <= LARGEST
    )
    assert outcome.problem in (None, "error") and outcome.message.isprintable()
    assert all(text is None or isinstance(text, str) for text in (outcome.answer, outcome.strategy))
