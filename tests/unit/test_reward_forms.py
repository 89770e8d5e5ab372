"""The forms in which a function of the user's is called, and what it may do there: nothing costs more than its own completions."""

from __future__ import annotations

import time
from types import SimpleNamespace

import pytest
from support.table import columns_of

from entropostat.data.example import Example
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.function import Function

CODE = '''
import os, time
import numpy

class Tensor:
    """As torch's, of one number."""
    def item(self):
        return 0.5

def single(completion, example, scale=1.0):
    return scale * len(completion)

def counted(completion, example):
    """How often it was called."""
    counted.calls = getattr(counted, "calls", 0) + 1
    return float(counted.calls)

def many(completions, examples, scale=1.0):
    """The scores, or what the first completion says."""
    told = completions[0]
    if told == "hang":
        time.sleep(60)
    if told == "kill":
        os._exit(9)
    returned = {
        "none": None, "number": 0.5, "text": "1.0", "dict": {"a": 1}, "short": [1.0], "long": [1.0] * 99, "set": {1.0},
        "generator": (1.0 for _ in completions), "self": many,
    }
    if told == "raise":
        raise ZeroDivisionError("on purpose")
    if told == "exit":
        raise SystemExit(3)
    if told in returned:
        return returned[told]
    odd = {
        "nan": float("nan"), "inf": float("-inf"), "huge": 10 ** 400, "beyond": 1e30, "nothing": None, "word": "1",
        "numpy": numpy.float32(0.5), "tensor": Tensor(), "list": [1.0], "complex": 1j,
    }
    return [odd.get(text, scale * len(text)) for text in completions]

def array(completions, examples):
    return numpy.array([len(text) for text in completions])

def spread(completions, examples):
    """Length beside the mean of the group, which has to be whole."""
    assert len({example.id for example in examples}) == 1
    mean = sum(map(len, completions)) / len(completions)
    return [len(text) - mean for text in completions]

def trl(prompts, completions, answer, wanted, scale=1.0, **kwargs):
    assert {"id", "source", "trainer_state", "completion_ids"} <= set(kwargs), sorted(kwargs)
    kwargs["log_metric"]("a", 1.0)
    kwargs["log_extra"]("a", [1])
    step = kwargs["trainer_state"].global_step
    said = [c if isinstance(c, str) else c[-1]["content"] for c in completions]
    return [scale * (text == a) + step + (w or 0) for text, a, w in zip(said, answer, wanted)]

async def later(completions, **kwargs):
    return [len(text) for text in completions]

def strict(prompts, completions, answer):
    return [1.0] * len(completions)
'''


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("forms")
    (made / "formed.py").write_text(CODE)
    return str(made)


@pytest.fixture(scope="module")
def scorer(folder):
    make = lambda name, form, **more: Function(path=f"formed:{name}", folder=folder, form=form, **more)
    made = Scorer(
        {
            "single": make("single", "single", options={"scale": 2.0}),
            "counted": make("counted", "single"),
            "once": make("counted", "single", deterministic=True),
            "batch": make("many", "batch", timeout=1.5, options={"scale": 2.0}, weight=2.0, weights={"s": 1e6}),
            "array": make("array", "batch"),
            "group": make("spread", "group"),
            "trl": make("trl", "trl", options={"scale": 4.0}),
            "later": make("later", "trl"),
        },
        allow_code=True,
        workers=1,
    )
    yield made
    made.close()


def examples(count, group=1):
    return [Example("p", "a", {}, f"e{i}") for i in range(count) for _ in range(group)]


def scores(outcomes):
    return [outcome.score for outcome in outcomes]


def test_each_form_is_called_as_it_says(scorer):
    texts = ["a", "bbb", "cc", "dddd"]
    assert scores(scorer.score("single", texts, examples(4))) == [2.0, 6.0, 4.0, 8.0]
    assert scores(scorer.score("batch", texts, examples(4))) == [2.0, 6.0, 4.0, 8.0]
    assert scores(scorer.score("array", texts, examples(4))) == [1.0, 3.0, 2.0, 4.0]
    assert scores(scorer.score("group", texts, examples(2, group=2))) == [-1.0, 1.0, -1.0, 1.0]
    assert scores(scorer.score("later", texts, examples(4))) == [1.0, 3.0, 2.0, 4.0]
    for name in ("batch", "group", "trl"):
        assert scorer.score(name, [], []) == []


WHOLE = {
    "none": "returned NoneType 'None' instead of a list of 3 scores, one for each completion",
    "number": "returned 0.5 instead of a list of 3 scores, one for each completion; form: single judges one at a time",
    "text": "returned str '1.0' instead of a list of 3",
    "dict": "returned dict",
    "set": "returned set",
    "generator": "returned generator",
    "self": "returned function",
    "short": "returned 1 scores instead of a list of 3",
    "long": "returned 99 scores instead of a list of 3",
    "raise": "ZeroDivisionError: on purpose",
    "exit": "SystemExit: 3",
    "kill": "its worker process died",
    "hang": "took longer than 1.5 s",
}


@pytest.mark.parametrize("kind", WHOLE)
def test_a_call_without_a_score_for_each_loses_its_completions_and_no_others(scorer, kind):
    before, begin = sum(scorer.problems["batch"].values()), time.monotonic()
    outcomes = scorer.score("batch", [kind, "bb", "c"], examples(3))
    assert [outcome.problem for outcome in outcomes] == ["timeout" if kind == "hang" else "error"] * 3
    assert {outcome.score for outcome in outcomes} == {None} and outcomes[0].message.startswith(WHOLE[kind])
    assert sum(scorer.problems["batch"].values()) == before + 3 and time.monotonic() - begin < 20
    assert scores(scorer.score("batch", ["a", "bb"], examples(2))) == [2.0, 4.0]
    assert scorer.score("single", ["a"], examples(1))[0].score == 2.0


@pytest.mark.parametrize(
    ("odd", "score", "problem"),
    [
        ("nan", None, "returned nan"), ("inf", None, "returned -inf"), ("huge", None, "returned 1000"),
        ("beyond", None, "returned 1e+30, which is beyond"), ("word", None, "returned str '1' instead of a number"),
        ("list", None, "returned a list of 1 instead of a number"), ("complex", None, "returned complex"),
        ("nothing", None, ""), ("numpy", 0.5, ""), ("tensor", 0.5, ""),
    ],
)  # fmt: skip
def test_a_score_that_is_none_costs_its_own_completion(scorer, odd, score, problem):
    first, middle, last = scorer.score("batch", ["aa", odd, "b"], examples(3))
    assert (first.score, last.score, middle.score) == (4.0, 2.0, score)
    assert middle.message.startswith(problem) and (middle.problem == "error") == bool(problem)


def test_a_list_of_one_at_a_time_names_the_other_form(folder):
    scorer = Scorer({"f": Function(path="formed:array", folder=folder)}, allow_code=True, workers=1)
    (outcome,) = scorer.score("f", ["a"], examples(1))
    scorer.close()
    assert outcome.problem == "error" and "ndarray" in outcome.message


def test_equal_completions_are_judged_again_unless_the_function_is_said_to_be_deterministic(scorer):
    same, other = [Example("p", "a", {}, "e")] * 4, Example("q", "a", {}, "e")
    assert len(set(scores(scorer.score("counted", ["x"] * 4, same)))) == 4
    found = scores(scorer.score("once", ["x", "y", "x", "x", "x"], [*same, other]))
    assert found[0] == found[2] == found[3] and len(set(found)) == 3


def test_a_function_of_trl_s_signature_has_its_columns_in_training_and_in_evaluation(scorer):
    rows = [Example("p", "a", {"wanted": 10}, "1"), Example("p", "b", {"wanted": None}, "2")]
    function = next(f for f in scorer.functions if f.__name__ == "trl")
    state = SimpleNamespace(global_step=100, max_steps=5, log_history=[object()], callbacks=lambda: None)
    given = columns_of(rows) | {"completion_ids": [[1], [2]], "trainer_state": state, "log_extra": print}
    assert function(completions=["a", "a"], **given) == [114.0, 100.0]
    said = [[{"role": "assistant", "content": text}] for text in ("a", "b")]
    assert function(completions=said, **given) == [114.0, 104.0]
    # In evaluation nobody has token ids; this function asks for them, and says so.
    lost = scorer.score("trl", ["a", "a"], rows)
    assert [outcome.problem for outcome in lost] == ["error"] * 2
    assert scores(scorer.score("later", ["a", "bb"], rows)) == [1.0, 2.0]


MISFITS = [
    ("trl", "single", "has TRL's signature, and form: single calls f(completion, example, **options); set form: trl"),
    ("trl", "group", "has TRL's signature, and form: group"),
    ("strict", "trl", "it takes no **columns; add **kwargs to its parameters"),
    ("later", "batch", "cannot be called as f(completions, examples, **options)"),
    ("single", "single", "cannot be called as f(completion, example, **options) with the options skale"),
]


@pytest.mark.parametrize(("name", "form", "line"), MISFITS)
def test_a_function_of_another_form_is_refused_before_training_in_one_line(folder, name, form, line):
    options = {"skale": 1.0} if name == "single" else {}
    verifier = Function(path=f"formed:{name}", folder=folder, form=form, options=options)
    scorer = Scorer({"mine": verifier}, allow_code=True, workers=1)
    try:
        with pytest.raises(ImportError) as caught:
            scorer.check()
    finally:
        scorer.close()
    text = str(caught.value)
    assert text.startswith(f"reward.mine: formed:{name} ") and line in text and "\n" not in text


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"form": "batch", "deterministic": True}, "deterministic is for form: single"),
        ({"form": "trl", "options": {"answer": 1}}, "options.answer: form: trl gives it itself; leave it out"),
    ],
)
def test_keys_that_contradict_each_other_are_refused(options, line):
    with pytest.raises(ValueError, match=line):
        Function(path="a:b", **options)
