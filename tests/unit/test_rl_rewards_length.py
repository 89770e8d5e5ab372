"""Rewards of length and repetition: numbers by hand, TRL's own, and those of the released formulas."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import batch_of, on_ranks, rows_of

from entropostat.rl.difficulty import decided
from entropostat.rl.registry import REWARDS
from entropostat.rl.rewards.repetition import repeated

each = pytest.mark.parametrize
NAN = float("nan")


def doubles(values):
    return torch.tensor(values, dtype=torch.float64)


def given_lengths(lengths, **changes):
    """One group, all right, of these lengths."""
    ones = doubles([1.0] * len(lengths))
    base = batch_of(0, rows=len(lengths), unshaped=ones, rewards=ones, judged=None, groups=torch.zeros(len(lengths)))
    return base.set(lengths=torch.tensor(lengths), **changes)


def added(kind, batch, **options):
    rewards, told = REWARDS.build(kind, options)(batch)
    return (rewards - batch.rewards).tolist(), {key: float(value) for key, value in told.items()}


# ------------------------------------------------------------------------------------------------------------- overlong


def test_the_last_tokens_before_the_limit_cost_in_proportion():
    batch = given_lengths([0, 79, 80, 81, 85, 90, 100, 101, 500])
    # free up to 100 - 20 = 80; 85 is 5 of 20 into the buffer
    found, told = added("overlong", batch, max_length=100, buffer=20)
    assert found == pytest.approx([0, 0, 0, -0.05, -0.25, -0.5, -1, -1, -1])
    assert told["punished"] == pytest.approx(6 / 9) and told["penalty"] == pytest.approx(-3.8 / 9)
    assert added("overlong", batch, max_length=100, buffer=20, coef=2.0)[0][4] == pytest.approx(-0.5)
    assert added("overlong", batch.set(longest=100), buffer=20)[0] == found


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    most=st.integers(1, 300), buffer=st.integers(0, 320), lengths=st.lists(st.integers(0, 400), min_size=1, max_size=8)
)
def test_overlong_gives_the_numbers_of_trl(most, buffer, lengths):
    from trl.rewards import get_soft_overlong_punishment

    wanted = get_soft_overlong_punishment(most, buffer)(completion_ids=[[1] * n for n in lengths])
    batch = given_lengths(lengths).set(rewards=torch.zeros(len(lengths), dtype=torch.float64))
    assert added("overlong", batch, max_length=most, buffer=buffer)[0] == wanted


def test_the_line_of_verl_goes_on_beyond_the_limit():
    lengths, factor = [10, 90, 100, 140], 0.5
    # verl: min(-(len - (max - buffer)) / buffer * factor, 0)
    wanted = [min(-(n - 80) / 20 * factor, 0) for n in lengths]
    options = {"max_length": 100, "buffer": 20, "coef": factor}
    assert added("overlong", given_lengths(lengths), reference=True, **options)[0] == pytest.approx(wanted)
    assert wanted == [0, -0.25, -0.5, -1.5] and added("overlong", given_lengths(lengths), **options)[0][3] == -0.5
    step = added("overlong", given_lengths(lengths), max_length=100, buffer=0, reference=True)[0]
    assert step == [0, 0, 0, -1]


# -------------------------------------------------------------------------------------------------------- length_cosine


def test_the_cosine_runs_from_the_short_value_to_the_long_one_and_wrong_ones_run_the_other_way():
    right = doubles([1.0] * 5 + [0.0] * 5)
    batch = given_lengths([0, 25, 50, 100, 300] * 2, unshaped=right, rewards=right)
    # (1 + cos(pi / 4)) / 2 = .8536
    wanted = [1, 0.5 + 0.5 * 0.853553, 0.75, 0.5, 0.5, -1, -0.5 - 0.5 * 0.853553, -0.75, -0.5, -0.5]
    found, told = added("length_cosine", batch, max_length=100)
    assert found == pytest.approx(wanted, abs=1e-6)
    assert told["right"] == pytest.approx(sum(wanted[:5]) / 5) and told["wrong"] == pytest.approx(sum(wanted[5:]) / 5)
    assert told["exceeded"] == pytest.approx(0.4)
    replaced, _ = REWARDS.build(
        "length_cosine", {"max_length": 100, "combine": "replace", "coef": 2.0, "exceed": -10.0}
    )(batch)
    assert replaced.tolist() == pytest.approx(
        [-20 if n >= 100 else 2 * w for n, w in zip([0, 25, 50, 100, 300] * 2, wanted, strict=True)], abs=1e-6
    )


@settings(max_examples=15, deadline=None, derandomize=True)
@given(most=st.integers(1, 60), lengths=st.lists(st.integers(0, 80), min_size=2, max_size=6), top=st.floats(-2, 2))
def test_length_cosine_gives_the_numbers_of_trl(most, lengths, top):
    from trl.rewards import get_cosine_scaled_reward

    texts = ["$\\boxed{1}$" if i % 2 else "$\\boxed{2}$" for i in range(len(lengths))]
    function = get_cosine_scaled_reward(most, max_value_correct=top, min_value_correct=0.25)
    wanted = function([[{"content": text}] for text in texts], ["1"] * len(texts), [[7] * n for n in lengths])
    right = doubles([float(i % 2) for i in range(len(lengths))])
    batch = given_lengths(lengths, unshaped=right, rewards=right * 0)
    assert added("length_cosine", batch, max_length=most, right_short=top, right_long=0.25)[0] == pytest.approx(
        wanted, abs=1e-12
    )


def test_the_cosine_of_open_r1_counts_characters_and_turns_back():
    texts = ("", "a" * 500, "é" * 1000, "a" * 1500, "a" * 2000)
    # min + (max - min) (1 + cos(len / 1000 pi)) / 2 of .5 and 1
    wanted = [0.5 + 0.25 * (1 + math.cos(len(text) / 1000 * math.pi)) for text in texts]
    found, told = added("length_cosine", given_lengths([9] * 5, texts=texts), max_length=1000, reference=True)
    assert (
        found == pytest.approx(wanted) and wanted == pytest.approx([1, 0.75, 0.5, 0.75, 1]) and told["exceeded"] == 0.6
    )


# ---------------------------------------------------------------------------------------------------------- repetition


def test_what_was_said_before_costs_its_share_of_the_grams():
    ids = torch.tensor([[5, 5, 5, 5, 5, 0], [1, 2, 1, 2, 1, 2], [1, 2, 3, 4, 5, 6], [9, 0, 0, 0, 0, 0], [0] * 6])
    mask = torch.tensor([[1] * 5 + [0], [1] * 6, [1] * 6, [1] + [0] * 5, [0] * 6]).double()
    batch = given_lengths([5, 6, 6, 1, 0], token_ids=ids, mask=mask)
    # pairs: 4 of one kind: 1 - 1/4; 5 of two kinds: 1 - 2/5; 5 of 5; none; none
    found, told = added("repetition", batch, gram=2)
    assert found == pytest.approx([-0.75, -0.6, 0, 0, 0])
    assert told["repeated"] == pytest.approx(1.35 / 5) and told["clean"] == 0.6
    assert added("repetition", batch, gram=2, coef=2.0)[0][0] == pytest.approx(-1.5)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(rows=st.lists(st.lists(st.integers(0, 3), max_size=24), min_size=1, max_size=5), gram=st.integers(1, 9))
def test_repetition_gives_the_numbers_of_trl(rows, gram):
    from trl.rewards import get_repetition_penalty_reward

    width = max(map(len, rows))
    ids = torch.tensor([row + [-100] * (width - len(row)) for row in rows])
    mask = torch.tensor([[1.0] * len(row) + [0.0] * (width - len(row)) for row in rows])
    batch = given_lengths([len(row) for row in rows]).set(
        token_ids=ids, mask=mask, rewards=torch.zeros(len(rows)).double()
    )
    assert added("repetition", batch, gram=gram)[0] == get_repetition_penalty_reward(gram, -1.0)(completion_ids=rows)


@each("gram", [1, 2, 3])
def test_repetition_of_words_is_that_of_open_r1(gram):
    texts = ("", "Wait wait WAIT wait", "so\n so it  is so it was", "one", "日本日本日本", "a b a b a b c")

    def released(text):
        words = text.lower().split()
        grams = list(zip(*[words[i:] for i in range(gram)], strict=False))
        return -(1 - len(set(grams)) / len(grams)) if grams else 0.0

    batch = given_lengths([9] * 6, texts=texts, rewards=torch.zeros(6).double())
    assert added("repetition", batch, gram=gram, of="words")[0] == pytest.approx([released(text) for text in texts])
    assert released(texts[1]) == -(1 - 1 / max(1, 5 - gram))


def test_grams_lie_in_one_piece_and_ids_may_be_large():
    ids = torch.tensor([[200_000, 7, 200_000, 7]])
    assert repeated(ids, torch.ones(1, 4).bool(), 1).tolist() == [0.5]
    assert repeated(ids, torch.tensor([[True, True, False, True]]), 2).tolist() == [0.0]  # one pair alone is whole
    assert repeated(torch.zeros(0, 4).long(), torch.zeros(0, 4).bool(), 2).tolist() == []
    assert repeated(torch.full((1, 3000), 149_999), torch.ones(1, 3000).bool(), 40).tolist() == [1 - 1 / 2961]


# --------------------------------------------------------------------------------------------------------- group_length


def test_the_shortest_right_one_earns_a_half_and_the_longest_pays_it():
    right = doubles([1, 1, 1, 0, 0, 1, 1, 0])
    batch = given_lengths(
        [10, 20, 50, 10, 40, 5, 5, 7], unshaped=right, rewards=right, groups=torch.tensor([0] * 5 + [1, 1, 2])
    )
    # 10 to 50: 1/2 - 0, 1/4 and 1; wrong: min(0, 1/2), 1/2 - 3/4. One length, and one alone: 0
    found, told = added("group_length", batch)
    assert found == pytest.approx([0.5, 0.25, -0.5, 0, -0.25, 0, 0, 0])
    assert told == pytest.approx({"added": 0.0, "spread": 40 / 3, "flat": 2 / 3})
    assert added("group_length", batch, coef=0.2)[0][0] == pytest.approx(0.1)


def test_what_has_no_reward_sets_no_range_and_an_empty_completion_is_the_shortest():
    scored = doubles([1, 1, NAN, NAN])
    batch = given_lengths([0, 8, 100, 3], unshaped=scored, rewards=scored, groups=torch.tensor([4, 4, 4, 9]))
    found, told = added("group_length", batch)
    assert found[:2] == [0.5, -0.5] and told["spread"] == 8 and told["flat"] == 0


def test_reference_is_open_r1s_range_of_characters_over_all_prompts():
    texts, hit = ("a" * 4, "b" * 14, "c" * 24, "d" * 4), [True, False, True, False]
    low, high = 4, 24
    share = [0.5 - (len(text) - low) / (high - low) for text in texts]
    wanted = [s if right else min(0, s) for s, right in zip(share, hit, strict=True)]
    right = doubles([float(h) for h in hit])
    batch = given_lengths([3, 3, 3, 3], texts=texts, unshaped=right, rewards=right, groups=torch.tensor([0, 0, 1, 1]))
    assert added("group_length", batch, reference=True)[0] == pytest.approx(wanted) and wanted == [0.5, 0, -0.5, 0]
    assert added("group_length", batch)[0] == [0] * 4


def test_a_group_on_two_ranks_has_one_range():
    right = doubles([1, 1, 0, 1, 1, 1])
    batch = given_lengths(
        [10, 30, 20, 50, 7, 9], unshaped=right, rewards=right, groups=torch.tensor([3, 1, 3, 3, 1, 1])
    )
    parts = [rows_of(batch, slice(0, 2)), rows_of(batch, slice(2, 6))]
    many = on_ranks([lambda rank, part=part: added("group_length", part.set(reducer=rank))[0] for part in parts])
    # group 3: 10 to 50; group 1: 7 to 30
    assert [x for part in many for x in part] == pytest.approx([0.5, -0.5, 0, -0.5, 0.5, 0.5 - 2 / 23])


# ------------------------------------------------------------------------------------------------------- what is right


def test_right_is_what_the_judge_says_where_it_has_a_say_and_what_the_sum_says_elsewhere():
    unshaped = doubles([1.5, 0.5, 1.0, 0.2, 1.0, NAN])
    judged = doubles([1.0, 0.0, 0.4, NAN, NAN, 1.0])
    batch = given_lengths([1] * 6, unshaped=unshaped, judged=judged)
    # a partial score is not right, as in evaluation, whatever form adds to it
    assert decided(batch, "judge", 0.5).tolist() == [True, False, False, False, True, False]
    assert decided(batch, "sum", 0.5).tolist() == [True, False, True, False, True, False]
    assert decided(batch.set(judged=None), "judge", 0.1).tolist() == [True, True, True, True, True, False]


@each("kind", ["length_cosine", "group_length"])
def test_the_terms_ask_the_judge_and_the_sum_where_told_to(kind):
    # form gives all of them 1, of weight 1; the first is right
    sums, judged = doubles([2.0, 1.0, 1.0]), doubles([1.0, 0.0, 0.0])
    batch = given_lengths([4, 2, 6], unshaped=sums, rewards=sums, judged=judged, longest=8)
    by_judge, by_sum, by_bar = (
        added(kind, batch, **options)[0] for options in ({}, {"right": "sum"}, {"right": "sum", "success": 1.0})
    )
    assert by_judge == by_bar != by_sum
    assert (by_judge[1] <= 0) and (by_sum[1] > 0)
