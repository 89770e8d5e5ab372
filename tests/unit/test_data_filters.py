"""What is trained on: repeated prompts, contradictions, missing answers, long prompts; each row counted under one reason."""

from __future__ import annotations

from typing import Any

import pytest
from support.tables import Given, table

from entropostat.data.dataset import Table
from entropostat.data.example import DataError, Example
from entropostat.data.kept import Rules


def rows(*pairs: tuple[str, str | None]) -> list[Example]:
    return [Example(prompt, answer, id=str(i)) for i, (prompt, answer) in enumerate(pairs)]


def ids(made: Table, name: str = "a") -> list[str]:
    return [example.id for example in made.train[name]]


def told(made: Table) -> dict[str, int]:
    (dropped,) = made.dropped
    assert dropped.read == dropped.train + dropped.held_out + sum(dropped.reasons.values())
    return dict(dropped.reasons)


def test_a_prompt_that_comes_a_hundred_times_is_trained_on_once() -> None:
    examples = rows(*[(f"p{i % 17}", str(i % 17)) for i in range(1700)])
    made = table({"a": examples}, Rules())
    assert ids(made) == [str(i) for i in range(17)] and told(made) == {"duplicate": 1683}
    assert len(ids(table({"a": examples}, Rules(duplicates="keep")))) == 1700


def test_of_a_prompt_with_several_answers_no_row_is_trained_on() -> None:
    pairs = [("p", "1"), ("q", "2"), (" p ", "3"), ("q", " 2 "), ("r", None), ("r", "4"), ("r", None)]
    made = table({"a": rows(*pairs)}, Rules())
    assert ids(made) == ["1", "5"], "of equal prompts the first with an answer stays, in the order of the source"
    assert told(made) == {"duplicate": 3, "conflicting": 2}


def test_answers_that_are_examples_do_not_contradict_each_other() -> None:
    made = table({"a": Given(rows(("p", "1"), ("p", "2")), one_answer=False)}, Rules())
    assert ids(made) == ["0"] and told(made) == {"duplicate": 1}


def chat(*messages: tuple[str, str], **more: Any) -> list[dict[str, Any]]:
    return [{"role": role, "content": content, **more} for role, content in messages]


def test_equal_prompts_are_equal_conversations() -> None:
    """Not equal last words: 'yes' is asked in many of them."""
    prompts: list[Any] = [
        chat(("user", "Is 7 prime?"), ("assistant", "Sure?"), ("user", "yes")),
        chat(("user", "Is 9 prime?"), ("assistant", "Sure?"), ("user", "yes")),
        chat(("system", "Lie."), ("user", "Is 9 prime?"), ("assistant", "Sure?"), ("user", "yes")),
        chat(("user", "Is 9 prime?"), ("assistant", "Sure?"), ("user", "yes")),
    ]
    examples = [Example(prompt, id=str(i)) for i, prompt in enumerate(prompts)]
    assert ids(table({"a": examples}, Rules())) == ["0", "1", "2"]
    spoken = table({"a": [Example("yes", id="text"), Example(chat(("user", "yes")), id="chat")]}, Rules(), system="")
    assert ids(spoken) == ["text"]


def test_a_prompt_may_stand_in_two_sources() -> None:
    """A curriculum may go over the same prompts twice."""
    made = table({"a": rows(("p", "1")), "b": rows(("p", "2"))}, Rules())
    assert ids(made, "a") == ids(made, "b") == ["0"]


def test_rows_without_an_answer_are_dropped_where_that_is_asked_for() -> None:
    examples = rows(("p", None), ("q", " "), ("r", "1"), ("s", ""))
    assert len(ids(table({"a": examples}, Rules()))) == 4
    made = table({"a": examples}, Rules(missing_answer="drop"))
    assert ids(made) == ["2"] and told(made) == {"no_answer": 3}


def test_prompts_are_measured_as_they_are_asked_and_only_where_that_is_asked_for() -> None:
    examples = rows(*[("x" * n, None) for n in range(1, 2500)])
    seen: list[Any] = []

    def lengths(prompts: list[Any]) -> list[int]:
        seen.extend(prompts)
        return [sum(len(message["content"]) for message in prompt) for prompt in prompts]

    made = table({"a": examples}, Rules(max_prompt_tokens=1500), system="Be brief.", lengths=lengths)
    assert len(ids(made)) == 1500 - len("Be brief.") and told(made) == {"too_long": 999 + len("Be brief.")}
    assert len(seen) == len(examples) and seen[0][0] == {"role": "system", "content": "Be brief."}
    table({"a": examples[:3]}, lengths=lambda prompts: pytest.fail("nobody has asked"))


def test_a_row_counts_under_the_first_reason_that_holds() -> None:
    examples = rows(("p", "1"), ("p", "1"), ("long", None), ("long", "2"), ("test", "3"), ("q", "4"))
    rules = Rules(missing_answer="drop", max_prompt_tokens=3)
    seen: list[Any] = []
    measure = lambda prompts: seen.extend(prompts) or [3 if p != "long" else 4 for p in prompts]  # type: ignore[func-returns-value]
    made = table({"a": Given(examples, where=7)}, rules, sets={"t": rows(("test", None))}, lengths=measure)
    assert ids(made) == ["0", "5"]
    assert told(made) == {"where": 7, "no_answer": 1, "duplicate": 1, "too_long": 1, "tested": 1}
    assert seen == ["p", "long", "test", "q"], "what is dropped already is not measured"
    line = str(made.dropped[0])
    assert line.startswith("data.sources.a: 2 prompts to train on and 0 held out, of 13 rows; dropped: 7 by where, 1 ")


def test_a_source_of_which_nothing_is_left_is_an_error_that_says_why() -> None:
    with pytest.raises(
        DataError, match=r"data.sources.a: no prompt is left to train on; dropped: 2 of one prompt with"
    ):
        table({"a": rows(("p", "1"), ("p", "2"))}, Rules())


def test_filters_come_before_the_split_and_do_not_move_it() -> None:
    examples = rows(*[(f"p{i % 100}", str(i % 100)) for i in range(300)])
    whole, once = (table({"a": examples}, Rules(0.3, duplicates=policy)) for policy in ("keep", "drop"))
    assert {e.text for e in whole.train["a"]} == {e.text for e in once.train["a"]}
    assert [e.text for e in whole.held_out["a"]] == [e.text for e in once.held_out["a"]]


def test_texts_and_messages_are_not_mixed_but_a_set_may_ask_in_its_own_form() -> None:
    text, messages = rows(("p", "1")), [Example(chat(("user", "q")), "1", id="m")]
    with pytest.raises(DataError, match=r"asks text.* and .*asks messages|asks messages.* and .*asks text"):
        table({"a": text, "b": messages})
    made = table({"a": text}, sets={"t": messages})
    assert made.sets["t"][0].prompt == messages[0].prompt and made.train["a"][0].prompt == "p"


def test_an_example_comes_back_as_it_was() -> None:
    tool = [{"role": "user", "content": "q"}, {"role": "tool", "content": "4", "name": "sum"}]
    meta = {"deep": {"list": [1, None, 2.5]}, "text": "ü"}
    examples = [Example(tool, "4", meta, "x", "a"), Example(tool[:1], None, {}, "y", "a")] * 700
    made = table({"a": examples})
    assert list(made.train["a"]) == examples and made.train["a"][1399] == examples[1]
    assert list(made.train["a"][5:9]) == examples[5:9] and len(made.train["a"][1390:]) == 10


def test_what_makes_no_column_is_named() -> None:
    with pytest.raises(DataError, match=r"data.sources.a: rows b to b make no column.*text"):
        table({"a": [Example("p", "\ud800", id="b")]})
    listed, mapped = (Example(chat(("user", "p"), tools=tools), id="1") for tools in (["x"], {"x": 1}))
    with pytest.raises(DataError, match=r"messages of one prompt do not have the form"):
        table({"a": [listed], "b": [mapped]})
