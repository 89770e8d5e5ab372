"""Phrases of planning: found at word boundaries, mined from right texts, and what they do to advantages."""

from __future__ import annotations

import json
import math
from collections import Counter

import pytest
import torch
from unit.rl_support import batch_of

from entropostat.rl.phrases import Mined, Phrases, candidates, matches, normal, shannon, words
from entropostat.rl.registry import ADVANTAGES


def found(text, *phrases):
    run = words(text)
    return [text[run[i][1] : run[i + n - 1][2]] for i, n, _ in matches([w for w, *_ in run], phrases)]


@pytest.mark.parametrize(
    "text, expected",
    [
        ("Let me check.", ["Let me"]),
        ("so, let\nme; LET ME", ["let\nme", "LET ME"]),
        ("outlet me, let men, let  us me", []),
        ("I’ll see. I'll wait", ["I’ll", "I'll", "wait"]),
    ],
)
def test_a_phrase_is_found_in_any_case_across_marks_and_at_word_boundaries_only(text, expected):
    assert found(text, "let me", "i'll", "wait") == expected


def test_phrases_may_overlap_and_one_is_not_found_past_the_end():
    assert found("a b a b", "a b", "b a b") == ["a b", "b a b", "a b"]
    assert found("a", "a b") == []


def test_candidates_hold_no_number_and_have_the_lengths_that_are_asked_for():
    assert candidates("so we take 2 and go on", 2, 3) == {
        "so we",
        "we take",
        "so we take",
        "and go",
        "go on",
        "and go on",
    }


def test_the_best_share_of_what_enough_texts_hold_counts_and_the_seed_always_does():
    mined = Mined(Phrases(("Wait,", "Let  Me"), share=0.5, least=2))
    assert mined.phrases() == {"wait", "let me"}
    mined.learn({"c": 1, "b": 3, "d": 2})
    mined.learn({"a": 3, "c": 1, "e": 1})
    assert mined.phrases() == {"wait", "let me", "a", "b"}  # of a, b, c and d


def test_what_is_learned_does_not_depend_on_how_texts_are_split_or_ordered_and_survives_json():
    texts = ["we can use this", "we can use that", "can use this now"]
    wanted = Phrases(shortest=2, longest=3, least=1, share=1.0, limit=4)
    whole, parts = Mined(wanted), Mined(wanted)
    counts = [Counter(candidates(text, 2, 3)) for text in texts]
    whole.learn(sum(counts, Counter()))
    parts.learn(sum(reversed(counts), Counter()))
    assert whole.state_dict() == parts.state_dict() and len(whole.counts) == 4
    again = Mined(wanted)
    again.load_state_dict(json.loads(json.dumps(whole.state_dict())))
    for mined in (whole, again):
        mined.learn(Counter(candidates("we can go", 2, 3)))
    assert again.state_dict() == whole.state_dict() and again.phrases() == whole.phrases()


def test_of_equally_common_candidates_the_first_of_the_alphabet_stay():
    for order in ("cab", "bca"):
        mined = Mined(Phrases(least=1, share=0.5, limit=2))
        mined.learn(dict.fromkeys(order, 1))
        assert mined.counts.keys() == {"a", "b"} and mined.phrases() == {"a"}


def test_entropy_of_counts():
    assert shannon([2, 2, 0]) == pytest.approx(math.log(2)) and shannon([]) == 0 == shannon([5])
    assert normal("  Let's   GO! ") == "let's go"


def test_planning_tokens_get_more_credit_and_less_blame():
    batch = batch_of(5)
    new = ADVANTAGES.build("hicra", {"alpha": 0.25})(batch)[0]
    factor = torch.where(batch.planning, 1 + 0.25 * batch.token_advantages.sign(), 1.0)
    torch.testing.assert_close(new, torch.where(batch.valid, factor * batch.token_advantages, 0.0))


@pytest.mark.parametrize(
    "options, message",
    [
        ({"shortest": 6}, "hicra.shortest: 6 must be at most longest, 5"),
        ({"planning": False}, "hicra.planning: false leaves nothing"),
        ({"seed": "wait"}, "hicra.seed: 'wait' must be a list"),
        ({"seed": [1]}, "must be a list of phrases"),
    ],
)
def test_options_that_mean_nothing_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        ADVANTAGES.build("hicra", options)
