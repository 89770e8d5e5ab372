"""References are tried on their own verifiers: what they read passes, what they misread is told, and how much stops a run."""

from __future__ import annotations

from itertools import product

import pytest
from support import shared_rows

from entropostat.data.dataset import with_system
from entropostat.data.example import Example
from entropostat.data.registry import SOURCES
from entropostat.reward import references
from entropostat.reward.doubts import doubts
from entropostat.reward.references import MOST, problem, read, unanswered
from entropostat.reward.registry import VERIFIERS
from entropostat.reward.scoring import Scorer

BOX, MARK, TAG = "Put it in \\boxed{}.", "End with '#### <number>'.", "Answer inside <answer> tags."
ASKED = (None, BOX, MARK, TAG, f"{BOX} {TAG}")


def rows(answers: list[str | None], source: str = "s", system: str | None = None) -> list[Example]:
    examples = [Example(prompt=f"p{i}", answer=answer, id=f"{source}/{i}") for i, answer in enumerate(answers)]
    return [with_system(example, system) for example in examples]


def readings(pools: dict[str, list[Example]], sets: dict[str, list[Example]] | None = None, **verifiers: dict):
    scorer = Scorer({kind: VERIFIERS.build(kind, options) for kind, options in verifiers.items()}, workers=2)
    try:
        return read(scorer, pools, sets)
    finally:
        scorer.close()


def test_every_verifier_that_compares_reads_a_plain_number_in_every_form_that_a_prompt_may_ask_for():
    tried = set()
    for kind in VERIFIERS.names():
        form = VERIFIERS[kind]
        if (
            form.learned or not form.compares or kind in ("chain", "reasoning_gym", "trl")
        ):  # with sources, or functions, of their own
            continue
        modes = ("optional", "required", "counts") if "thinking" in form.__dataclass_fields__ else (None,)
        for system, thinking in product(ASKED if kind != "exact_match" else (None,), modes):
            (example,) = rows(["12"], system=system)
            built = VERIFIERS.build(kind, {} if thinking is None else {"thinking": thinking})
            scores = [built.score(text, example) for text in built.worked(example)]
            assert max(scores) == 1.0, (kind, system, thinking)
            if system is not None:  # what the prompt names is enough by itself
                assert scores[0] == 1.0, (kind, system, thinking)
        tried.add(kind)
    assert {"numeric", "math_verify", "exact_match"} <= tried


@pytest.mark.parametrize("kind", ["chain", "reasoning_gym"])
def test_a_source_with_a_verifier_of_its_own_is_read(kind):
    options = {"task": "chain_sum", "size": 20} if kind == "reasoning_gym" else {"length": 3, "size": 50}
    examples = SOURCES.build(kind, options).load()
    (reading,) = readings({"own": examples}, **{kind: {}})
    assert (reading.unread, reading.tried) == (0, len(examples))


def test_every_reference_of_public_sets_is_read_whatever_form_is_asked_for():
    maths = [row["answer"] for row in shared_rows.rows("math_references.jsonl")]
    solved = [row["answer"] for row in shared_rows.rows("gsm8k_test_400.jsonl")]
    final = [answer.split("####")[1].strip() for answer in solved]
    pools = {
        f"{name} {system}": rows(answers, name, system)
        for system in ASKED
        for name, answers in (("maths", maths[::2]), ("solutions", solved[::4]), ("numbers", final[::4]))
    }
    found = readings(pools, math_verify={})
    found += readings({name: pool for name, pool in pools.items() if "maths" not in name}, numeric={})
    assert [reading.line() for reading in found if reading.unread or not reading.tried] == []
    assert problem(found, 0.0) is None


@pytest.mark.parametrize(
    ("kind", "options", "system", "answer", "is_read"),
    [
        ("exact_match", {}, None, "A", True),
        ("exact_match", {}, BOX, "A", False),
        ("exact_match", {}, None, "so 2 + 2 = 4\n#### 4", False),  # nobody repeats a solution word for word
        ("exact_match", {"answer_regex": "<answer>(.*?)</answer>"}, TAG, "A", True),
        ("exact_match", {"answer_regex": "<answer>(.*?)</answer>"}, None, "A", True),
        ("exact_match", {"answer_regex": r"\\boxed\{(.*?)\}"}, TAG, "A", False),
        ("exact_match", {"answer_regex": r"(?i)the answer is:? ([A-D])\b"}, None, "C", True),
        ("exact_match", {"answer_regex": r"(?i)the answer is:? ([A-D])\b"}, None, "E", False),
        ("exact_match", {"answer_regex": r"#### (-?\d+)"}, None, "3.5", False),
        ("exact_match", {"answer_regex": "<think>.*</think><answer>(.*)</answer>"}, None, "A", False),
        ("numeric", {"answer_regex": r"Total: \d+"}, None, "12", True),
        ("numeric", {}, None, "twelve or so", False),
        ("numeric", {}, BOX, "So in all\n12 dollars", True),
        ("numeric", {"thinking": "required"}, MARK, "12", True),
        ("math_verify", {"boxed": True}, None, "\\frac{1}{2}", True),
        ("math_verify", {"boxed": True}, MARK, "\\frac{1}{2}", False),
        ("math_verify", {}, BOX, "The answer is $\\frac{1}{2}$.", True),
    ],
)
def test_a_right_answer_is_tried_in_the_form_that_the_prompt_names_or_the_pattern_wants(
    kind, options, system, answer, is_read
):
    (reading,) = readings({"s": rows([answer], system=system)}, **{kind: options})
    assert (reading.tried, reading.unread) == (1, 0 if is_read else 1)


def test_a_pattern_whose_text_nobody_can_guess_is_no_fault():
    (reading,) = readings({"s": rows(["A"])}, exact_match={"answer_regex": r"(A|B)=\1"})
    assert (reading.tried, reading.silent, reading.unread) == (0, 1, 0)
    assert problem([reading], 0.0) is None and "nobody knows" in reading.line()


def test_the_share_is_of_rows_and_the_line_shows_three_of_what_is_read_as_what():
    answers = ["1"] * 90 + ["one"] * 6 + ["two", "three", "four", "five"] + [None] * 50
    (reading,) = readings({"data.sources.s": rows(answers)}, numeric={})
    assert (reading.rows, reading.tried, reading.unread) == (150, 100, 10)
    assert "10 of 100 references tried of data.sources.s (150 rows), 10 %" in reading.line()
    assert [example.reference for example in reading.examples] == ["one", "two", "three"]
    assert str(reading.examples[0]).startswith("'one' written as '\\\\boxed{one}' is read as nothing (ValueError: ")
    assert problem([reading], 0.1) is None
    line = problem([reading], 0.0999)
    assert (
        line is not None
        and "\n" not in line
        and line.startswith("reward.numeric does not read 10 of 100")
        and "9.99 %" in line
    )


def test_what_is_read_as_something_else_is_shown():
    (reading,) = readings({"s": rows(["1,5"], system=BOX)}, exact_match={"answer_regex": r"\\boxed\{(\d+)"})
    assert reading.examples[0].read == "'1'"


def test_each_source_counts_by_itself_and_one_that_another_verifier_reads_does_not():
    pools = {"numbers": rows([str(i) for i in range(50)]), "words": rows(["yes", "no"], "w")}
    numeric, words = readings(pools, numeric={})
    assert (numeric.share, words.share) == (0, 1)
    assert problem([numeric, words], 0.5) is not None, "2 of 52 rows in all"
    both = readings(pools, numeric={}, exact_match={})
    assert [(r.verifier, r.source) for r in both if r.left] == [("numeric", "words")]
    assert problem(both, 0.0) is None
    assert problem(readings({"words": pools["words"]}, numeric={}, exact_match={}), 0.5), (
        "numeric reads nothing anywhere"
    )


def test_an_evaluation_set_is_tried_on_the_verifier_that_decides_there():
    found = readings({"s": rows(["1"])}, {"set": rows(["one"])}, numeric={}, exact_match={})
    assert [(r.verifier, r.source, r.unread) for r in found] == [
        ("numeric", "s", 0),
        ("numeric", "set", 1),
        ("exact_match", "s", 0),
    ]


def test_many_references_are_sampled_evenly_each_distinct_one_once_and_those_of_a_small_source_are_all_tried(
    monkeypatch,
):
    judged: list[str] = []

    def counted(scorer, verifier, jobs):
        judged.extend(example.id for _, example in jobs)
        return plainly(scorer, verifier, jobs)

    plainly = references.judged
    monkeypatch.setattr(references, "judged", counted)
    many = [str(i) for i in range(5000)]
    found = readings({"many": rows(many, "m"), "few": rows(["1", "1", "2"], "f")}, numeric={})
    assert [(r.tried, r.rows) for r in found] == [(MOST // 2, 5000), (3, 3)]
    assert "500 references tried of many (5,000 rows)" in found[0].line()
    assert len(judged) == MOST // 2 + 2 and judged[-3] == "m/4990" and judged[0] == "m/0"


def test_the_time_for_all_of_them_is_bounded_and_what_was_tried_is_told(monkeypatch):
    monkeypatch.setattr(references, "SECONDS", 0.0)
    found = readings({"a": rows([str(i) for i in range(300)]), "b": rows(["1"])}, numeric={})
    assert [r.tried for r in found] == [references.PORTION, 1]
    (late,) = readings({"a": rows(["12"])}, exact_match={})
    assert late.unread == 1, "the first form alone"


def test_a_reference_on_which_the_verifier_hangs_is_not_read_and_costs_no_more_than_patience(monkeypatch):
    monkeypatch.setattr(references, "PATIENCE", 0.5)
    options = {"answer_regex": "^(a+)+$", "timeout": 600}
    (reading,) = readings({"s": rows(["a" * 40 + "!", "aa"])}, exact_match=options)
    assert (reading.tried, reading.unread) == (2, 1) and any(
        "took longer than 0.5 s" in example.read for example in reading.examples
    )


def test_a_verifier_that_needs_answers_where_there_are_none_is_told_of():
    scorer = Scorer({kind: VERIFIERS.build(kind, {}) for kind in ("numeric", "exact_match")})
    lines = list(unanswered(scorer, {"s": rows([None] * 5)}))
    assert len(lines) == 2 and lines[0].startswith(
        "reward.numeric scores no completion: no prompt has a reference answer"
    )
    assert list(unanswered(scorer, {"s": rows([None, "1"])})) == list(unanswered(scorer, {})) == []
    assert readings({"s": rows([None] * 5)}, numeric={}) == []


FUNCTIONS = """
def right(completion, example):
    return float(example.answer in completion.split("{")[-1].strip("}# ").split())

def length(completion, example):
    return -float(len(completion))

def always(completion, example):
    return 1.0

def broken(completion, example):
    return example.meta["tests"]

def silent(completion, example):
    return None
"""


def test_a_function_that_gives_a_reference_no_more_than_a_wrong_answer_is_a_doubt_and_never_a_stop(tmp_path):
    (tmp_path / "scores_of_mine.py").write_text(FUNCTIONS)
    names = ("right", "always", "broken", "silent", "length")
    verifiers = {
        name: VERIFIERS.build("function", {"path": f"scores_of_mine:{name}", "folder": str(tmp_path)}) for name in names
    }
    scorer = Scorer(verifiers, allow_code=True, workers=2)
    try:
        pools = {"s": rows([str(i) for i in range(30)])}
        assert read(scorer, pools) == [] and list(unanswered(scorer, pools)) == []
        found = {doubt.verifier: doubt for doubt in doubts(scorer, pools)}
        assert list(doubts(scorer, {"s": rows([None] * 9)})) == []
    finally:
        scorer.close()
    assert set(found) == {"always", "broken"}  # a wrong answer is the longer text
    assert (found["always"].no_better, found["always"].tried) == (4, 4) and found["broken"].failed == 4
    assert "1 for '01' where '0' is right and gets 1. That is as it should be" in found["always"].line()
    assert "KeyError: 'tests'" in found["broken"].line()
