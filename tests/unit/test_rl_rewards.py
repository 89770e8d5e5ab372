"""What holds for every reward term, whatever it computes, and the worked numbers of each."""

from __future__ import annotations

import json
import math
from dataclasses import fields
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from unit.rl_support import REWARD, TOKEN_FIELDS, batch_of, label, on_ranks, rows_of

from entropostat.rl.control import Control
from entropostat.rl.measured import merged
from entropostat.rl.needs import TEACHER
from entropostat.rl.objective import Objective
from entropostat.rl.reduce import LOCAL
from entropostat.rl.registry import REWARDS
from entropostat.rl.rewards.diversity import gram_counts
from entropostat.rl.windows import span, window_entropy

each = pytest.mark.parametrize
few = settings(max_examples=4, deadline=None, derandomize=True)
seeds = st.integers(0, 10_000)
NAN, INF = float("nan"), float("inf")
SETTINGS = [*REWARD, ("rewards", "ares", {"triggers": ["wait"]}), ("rewards", "ares", {"reference": True, "window": 2})]
SETTINGS += [("rewards", "diversity", {"of": "answer", "among": "all"}), ("rewards", "pear", {"floor": 0.05})]
SETTINGS += [("rewards", kind, {"reference": True}) for kind in ("overlong", "length_cosine", "group_length")]
SETTINGS += [("rewards", "length_cosine", {"exceed": -10.0, "max_length": 6})]


def chain(*settings):
    parts = [
        (f"{kind}{i}", kind, {"window": 2} | o if kind == "ares" else o) for i, (_, kind, o) in enumerate(settings)
    ]
    return Objective.build({"loss": ("unclipped", "unclipped", {}), "rewards": parts})


def rewarded(setting, batch, memory=None, learn=True):
    return chain(setting).reward(batch, memory or {}, learn)


def same(a, b, tolerance=1e-12):
    torch.testing.assert_close(a, b, rtol=tolerance, atol=tolerance, equal_nan=True)


@each("setting", SETTINGS, ids=label)
@few
@given(seed=seeds, garbage=st.sampled_from([INF, -INF, NAN, 1e30, -3.0]))
def test_garbage_in_padding_changes_nothing(setting, seed, garbage):
    clean = batch_of(seed)
    dirty = {
        n: torch.where(clean.valid, getattr(clean, n), garbage)
        for n in TOKEN_FIELDS
        if n not in ("advantages", TEACHER)
    }
    dirty["token_ids"] = torch.where(clean.valid, clean.token_ids, 7)
    a, b = rewarded(setting, clean), rewarded(setting, clean.set(**dirty))
    same(a.rewards, b.rewards, 0)
    assert a.memory == b.memory and merged(a.metrics, LOCAL) == pytest.approx(merged(b.metrics, LOCAL), nan_ok=True)


@each("setting", SETTINGS, ids=label)
@few
@given(seed=seeds)
def test_the_order_of_rows_does_not_matter(setting, seed):
    batch = batch_of(seed)
    order = torch.randperm(6, generator=torch.Generator().manual_seed(seed))
    a, b = rewarded(setting, batch), rewarded(setting, rows_of(batch, order))
    same(a.rewards[order], b.rewards)
    (mine,), (theirs,) = a.memory.values(), b.memory.values()
    assert mine == pytest.approx(theirs, rel=1e-12)


@each("cut", [(0, 2, 6), (0, 3, 5, 6), (0, 1, 2, 3, 4, 5, 6)], ids=str)
@each("setting", SETTINGS, ids=label)
@few
@given(seed=seeds)
def test_groups_that_straddle_ranks_get_what_they_get_on_one(setting, cut, seed):
    batch = batch_of(seed, groups=torch.tensor([0, 1, 0, 1, 1, 0]))
    batch = batch.set(unshaped=torch.where(torch.arange(6) == seed % 7, torch.nan, batch.unshaped))
    one = rewarded(setting, batch)
    parts = [rows_of(batch, slice(a, b)) for a, b in pairwise(cut)]
    work = lambda rank, part: (found := rewarded(setting, part.set(reducer=rank)), merged(found.metrics, rank))
    many = on_ranks([lambda rank, part=part: work(rank, part) for part in parts])
    same(torch.cat([found.rewards for found, _ in many]), one.rewards)
    told, (remembered,) = merged(one.metrics, LOCAL), one.memory.values()
    for found, metrics in many:
        assert next(iter(found.memory.values())) == pytest.approx(remembered, rel=1e-12)
        assert found.memory == many[0][0].memory  # to the bit: ranks must not drift apart
        assert metrics == pytest.approx(told, rel=1e-9, abs=1e-12, nan_ok=True)


@each("setting", SETTINGS, ids=label)
def test_a_completion_without_a_reward_has_none_and_does_not_move_the_others(setting):
    groups = torch.tensor([0, 0, 0, 0, 1, 1])
    batch = batch_of(1, groups=groups, unshaped=torch.tensor([1.0, 0.0, NAN, 1.0, 1.0, 0.0], dtype=torch.float64))
    kept = torch.tensor([0, 1, 3, 4, 5])
    memory = {f"{setting[1]}0": {"threshold": 0.5, "target_easy": 1.0, "target_medium": 1.0, "target_hard": 2.0}}
    whole = rewarded(setting, batch, memory, learn=False).rewards
    assert whole.isnan().tolist() == batch.unshaped.isnan().tolist()
    same(whole[kept], rewarded(setting, rows_of(batch, kept), memory, learn=False).rewards)


@each("case", ["nothing scored", "one a group", "no token", "one row", "one token", "huge entropy"])
@each("setting", SETTINGS, ids=label)
def test_degenerate_generations_give_finite_rewards_to_what_is_scored(setting, case):
    batch = batch_of(3)
    if case == "nothing scored":
        batch = batch.set(unshaped=torch.full((6,), NAN, dtype=torch.float64))
    if case == "one a group":
        batch = batch.set(groups=torch.arange(6))
    if case == "no token":
        batch = batch.set(mask=torch.zeros_like(batch.mask), pieces=((),) * 6)
    if case in ("one row", "one token"):
        batch = batch_of(4, rows=1, width=7 if case == "one row" else 1)
    if case == "huge entropy":
        batch = batch.set(old_entropy=torch.where(batch.valid, 1e10, 0.0).double())
    memory = {}
    for _ in range(3):
        found = rewarded(setting, batch, memory)
        memory = found.memory
        scored = ~batch.unshaped.isnan()
        assert found.rewards[scored].isfinite().all() and found.rewards[~scored].isnan().all()
        assert found.rewards.dtype == batch.unshaped.dtype
        for value in memory.values():
            assert json.loads(json.dumps(value, allow_nan=False)) == value


@each("setting", SETTINGS, ids=label)
def test_a_generation_that_is_not_learned_from_is_forgotten_and_memory_goes_on(setting):
    first, second = batch_of(1), batch_of(2)
    after = rewarded(setting, first).memory
    looked = rewarded(setting, second, after, learn=False)
    assert looked.memory == after
    again = rewarded(setting, second, json.loads(json.dumps(after)))
    same(again.rewards, rewarded(setting, second, after).rewards, 0)
    if setting[1] == "ares" and not setting[2].get("reference"):
        assert again.memory != after
        others = [batch_of(seed, rows=32) for seed in range(2, 8)]
        assert any(not torch.equal(rewarded(setting, b, after).rewards, rewarded(setting, b).rewards) for b in others)


@each("setting", SETTINGS, ids=label)
@few
@given(seed=seeds)
def test_declared_needs_are_enough_and_metrics_are_those_declared(setting, seed):
    o, batch = chain(setting), batch_of(seed)
    always = {"logps", "mask", "unshaped", "groups", "uids", "reducer", "stats", "memory", "seed", "generation"}
    scarce = batch.set(**dict.fromkeys({f.name for f in fields(batch)} - always - o.rollout_needs))
    found = o.reward(scarce, {}, learn=True)
    same(found.rewards, o.reward(batch, {}, learn=True).rewards, 0)
    assert {key.partition("/")[2] for key in found.metrics} == set(REWARDS[setting[1]].info.provides)
    assert all(value.dim() == 0 and not value.requires_grad for value in found.metrics.values())


@each("setting", SETTINGS, ids=label)
def test_a_term_changes_rewards_and_every_controlled_option_does(setting):
    _, kind, options = setting
    o, batch = chain(setting), batch_of(3, unshaped=torch.tensor([1.0, 1.0, 0.0, 0.0, 1.0, 0.0], dtype=torch.float64))
    plain = o.reward(batch, {}, learn=True).rewards
    if not (kind == "diversity" and options.get("among", "right") == "right" and options.get("of") == "answer"):
        assert not torch.equal(plain, batch.unshaped)
    assert REWARDS[kind].info.clock == "rollout"
    for f in fields(REWARDS[kind]):
        if "float" in str(f.type) and not f.metadata["fixed"] and f.name not in options:
            knob = {"constant": {"value": 0.9 if kind == "pear" and f.name != "alpha" else 0.31}}
            spec = {"loss": ("unclipped", "unclipped", {}), "rewards": [(kind, kind, {**options, f.name: knob})]}
            control = Control.build(spec)
            assert [(k.path, k.clock) for k in control.knobs] == [(f"rewards.{kind}.{f.name}", "rollout")]
            moved = control.objective(control.values(control.init())).rewards[0].term
            assert getattr(moved, f.name) == knob["constant"]["value"] != getattr(REWARDS.build(kind), f.name)


def entropies(rows, **changes):
    """A batch of these entropies, all right, one group."""
    old = torch.tensor(rows, dtype=torch.float64)
    ones = torch.ones(len(rows), dtype=torch.float64)
    pieces = changes.pop("pieces", tuple(("x",) * old.size(1) for _ in rows))
    base = batch_of(0, rows=len(rows), width=old.size(1), mask=torch.ones_like(old), old_entropy=old)
    return base.set(
        **{"unshaped": ones, "rewards": ones, "groups": torch.zeros(len(rows)), "pieces": pieces, **changes}
    )


def term(kind, **options):
    return REWARDS.build(kind, options)


def test_pear_reads_a_boundary_of_several_tokens_and_lets_tool_output_out():
    pieces = (("a", "b", "\n</", "th", "ink>\n", "c", "d"),)
    batch = entropies([[1.0, 2.0, 9.0, 9.0, 9.0, 0.5, 0.25]], pieces=pieces)
    rewards, told = term("pear")(batch)
    assert (float(told["think"]), float(told["answer"])) == (1.5, 0.375)
    assert rewards.tolist() == [1 - (1.5 - 0.375)]
    mask = torch.tensor([[1.0, 0, 1, 1, 1, 1, 1]])
    assert float(term("pear")(batch.set(mask=mask))[1]["think"]) == 1.0


def test_pear_takes_the_first_boundary_or_the_last():
    pieces = (("a", "</think>", "b", "</think>", "c"),)
    batch = entropies([[1.0, 0.0, 0.3, 0.0, 0.1]], pieces=pieces)
    assert float(term("pear")(batch)[1]["answer"]) == pytest.approx(0.4 / 3)
    assert float(term("pear", occurrence="last")(batch)[1]["answer"]) == pytest.approx(0.1)


def test_pear_floor_is_the_least_of_a_right_answer_and_not_of_a_wrong_one():
    batch = entropies([[3.0, 3.0, 3.0]] * 2, unshaped=torch.tensor([1.0, 0.0]))
    assert term("pear")(batch)[0].tolist() == [-2.0, 0.0]
    assert term("pear", floor=0.05)(batch)[0].tolist() == [0.05, 0.0]


def test_pear_tells_the_groups_where_entropy_alone_decides():
    unshaped = torch.tensor([1.0, 1.0, 1.0, 0.0, NAN, NAN, 1.0, NAN], dtype=torch.float64)
    batch = entropies([[1.0, 2.0]] * 8, unshaped=unshaped, groups=torch.arange(8) // 2)
    assert float(term("pear")(batch)[1]["all_right"]) == pytest.approx(2 / 3)


def test_diversity_is_the_mean_distance_from_the_other_right_ones():
    ids = torch.tensor([[5, 6, 7, 8], [5, 6, 7, 8], [5, 6, 7, 9], [1, 2, 3, 4]])
    unshaped = torch.tensor([1.0, 1.0, 1.0, 0.0], dtype=torch.float64)
    batch = entropies([[0.0] * 4] * 4, token_ids=ids, unshaped=unshaped, rewards=unshaped)
    rewards, told = term("diversity", coef=1.0)(batch)
    # two grams each: {567, 678}, {567, 678}, {567, 679}: cosines 1 and 1/2
    assert rewards.tolist() == pytest.approx([1.25, 1.25, 1.5, 0.0])
    assert float(told["distance"]) == pytest.approx(1 / 3) and float(told["compared"]) == 0.75
    with_all = term("diversity", coef=1.0, among="all")(batch)[0]
    assert with_all.tolist() == pytest.approx([1.5, 1.5, 1 + 2 / 3, 1.0])


def test_diversity_of_answers_pays_the_rare_ones_and_nothing_for_none():
    batch = entropies([[0.0]] * 5, answers=("4", "4", "5", None, "4"))
    rewards, told = term("diversity", coef=1.0, of="answer", among="all")(batch)
    assert rewards.tolist() == pytest.approx([1 + 1 / 3, 1 + 1 / 3, 2.0, 1.0, 1 + 1 / 3])
    assert float(told["alone"]) == 0.0
    assert torch.equal(term("diversity", of="answer")(batch.set(answers=None))[0], batch.rewards)


def test_a_lone_right_completion_gets_no_bonus_and_is_told():
    batch = entropies([[0.0] * 4] * 2, unshaped=torch.tensor([1.0, 0.0], dtype=torch.float64))
    rewards, told = term("diversity")(batch)
    assert torch.equal(rewards, batch.rewards) and float(told["alone"]) == 1.0


def test_short_completions_are_one_gram_and_empty_ones_none():
    ids = torch.tensor([[5, 6, 0], [5, 6, 7], [5, 0, 0], [0, 0, 0]])
    valid = torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [0, 0, 0]]).bool()
    assert gram_counts(ids, valid, 3).sum(1).tolist() == [1, 1, 1, 0]
    assert gram_counts(ids, valid, 1).sum(1).tolist() == [2, 3, 1, 0]
    assert gram_counts(ids, valid, 8).sum(1).tolist() == [1, 1, 1, 0]


def test_ares_first_target_and_alpha_follow_the_first_generation():
    rows = [[2.0, 2.0, 0.0, 0.0], [2.0, 0.0, 0.0, 0.0], [0.0] * 4, [2.0] * 4]
    batch = entropies(rows, groups=torch.tensor([0, 0, 1, 1]), unshaped=torch.tensor([1.0, 1.0, 0.0, 0.0]))
    ares = term("ares", window=1, tail=1.0)
    memory = ares.remember(batch)
    # tails 2, 2, 0, 2: median 2. Windows 2 and 1 of the easy prompt, 0 and 4 of the hard one.
    assert memory == {"threshold": 2.0, "target_easy": 2.0, "alpha_easy": 0.475, "alpha_medium": 0.5, "target_hard": 2.0, "alpha_hard": 0.5}  # fmt: skip
    quiet = batch.set(old_entropy=torch.full_like(batch.old_entropy, 1.0), memory=memory)
    assert ares.remember(quiet)["threshold"] == pytest.approx(0.99 * 2 + 0.01)
    assert term("ares", window=1, tail=1.0, reference=True).remember(batch)["threshold"] == pytest.approx(
        -0.98
    )  # tails behind the first token: 2, 0, 0, 2


def test_ares_counts_windows_of_trigger_words_only_and_without_regard_to_case_or_space():
    batch = entropies([[2.0] * 5], pieces=(("Ġwait", " Wait", "x", "wait.", "WAIT"),))
    counts = lambda **o: term("ares", **o)._count(*term("ares", **o)._windows(batch), {"threshold": 1.0}).tolist()
    assert counts(window=1) == [5] and counts(window=1, triggers=["Wait"]) == [3]
    assert counts(window=2, triggers=["wait"]) == [2] and counts(window=2, triggers=["wait"], reference=True) == [2]


def test_ares_pays_nothing_for_a_wrong_answer_of_few_windows_where_the_sigmoid_is_centred():
    wrong, level = torch.tensor([False]), torch.tensor([2])
    found = [float(term("ares", center_sigmoid=c)._shaping(torch.zeros(1), wrong, level, {})) for c in (False, True)]
    assert found == pytest.approx([0.3, 0.0])


def test_windows_do_not_reach_over_a_hole_and_spans_are_found_in_pieces():
    batch = entropies([[1.0, 2.0, 3.0, 4.0]]).set(mask=torch.tensor([[1.0, 1, 0, 1]]))
    means, whole = window_entropy(batch, 2)
    assert whole.tolist() == [[True, False, False, False]] and means.tolist() == [[1.5, 0, 0, 0]]
    assert not window_entropy(batch, 5)[1].any() and not window_entropy(batch, 4, ahead=1)[1].any()
    assert span(("ab", "cd", "ab"), "ab") == (0, 0) and span(("ab", "cd", "ab"), "ab", last=True) == (2, 2)
    assert span(("a", "b<", "", "/x>c"), "</x>") == (1, 3) and span(("a",), "b") is None and span((), "b") is None


def test_ratios_of_a_third_are_counted_in_whole_numbers():
    for n in (3, 6, 9, 12, 24):
        for hits in range(n + 1):
            unshaped = torch.tensor([1.0] * hits + [0.0] * (n - hits))
            batch = entropies([[1.0]] * n, unshaped=unshaped)
            told = term("ares", window=1)(batch)[1]
            want = "easy" if 3 * hits >= 2 * n else "medium" if 3 * hits >= n else "hard"
            assert float(told[want]) == 1.0, (n, hits)
            assert math.isclose(sum(float(told[name]) for name in ("easy", "medium", "hard")), 1.0)
