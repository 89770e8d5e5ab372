"""Groups of completions are whole for whoever judges groups, on however many ranks their members are."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.table import columns_of

from entropostat.data.example import Example
from entropostat.faults import RunFault
from entropostat.reward.groups import in_groups
from entropostat.reward.judge import Outcome
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.function import Function
from entropostat.trainers.rollout.group_ranks import GroupRanks


class Meeting:
    """What the ranks of a run gather, each in a thread of its own."""

    def __init__(self, world: int) -> None:
        self.barrier, self.given = threading.Barrier(world, timeout=10), [[] for _ in range(world)]

    def gather(self, rank: int, rows: list[Any]) -> list[Any]:
        self.given[rank] = rows
        self.barrier.wait()
        every = [row for given in self.given for row in given]
        self.barrier.wait()
        return every


@dataclass
class Rank:
    size: int
    rank: int
    world: int
    meeting: Meeting

    def gather(self, rows):
        return self.meeting.gather(self.rank, rows)


def run(texts, asked, size, world):
    """(outcomes of all ranks in their order, the groups that were judged)."""
    judged: list[list[str]] = []
    rows, found, meeting = len(texts) // world, [None] * world, Meeting(world)

    def score(completions, examples, groups):
        outcomes = [Outcome()] * len(completions)
        for group in groups:
            members = [completions[row] for row in group]
            assert len({examples[row].id for row in group}) == 1
            judged.append(members)
            for row in group:
                outcomes[row] = Outcome(float(len(members)), answer="".join(members) + completions[row])
        return outcomes

    def rank(index):
        mine = slice(index * rows, (index + 1) * rows)
        found[index] = in_groups(score, texts[mine], asked[mine], Rank(size, index, world, meeting))

    threads = [threading.Thread(target=rank, args=(index,)) for index in range(world)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [outcome for part in found for outcome in part], judged


@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 5))
def test_every_group_is_whole_is_judged_once_and_its_verdicts_come_home(size, world, groups):
    groups *= world  # as many rows on each rank
    texts = [f"{row}," for row in range(size * groups)]
    asked = [Example("p", None, {}, str(row // size)) for row in range(size * groups)]
    outcomes, judged = run(texts, asked, size, world)
    whole = [texts[start : start + size] for start in range(0, len(texts), size)]
    assert sorted(judged) == sorted(whole)
    assert [o.answer for o in outcomes] == ["".join(whole[row // size]) + text for row, text in enumerate(texts)]
    assert {o.score for o in outcomes} == {float(size)}


@pytest.mark.parametrize(("size", "world", "rows"), [(3, 2, 3), (4, 2, 6), (8, 4, 2), (6, 4, 9), (4, 4, 5)])
def test_groups_that_lie_on_several_ranks_are_whole(size, world, rows):
    texts = [f"{row}," for row in range(rows * world)]
    asked = [Example("p", None, {}, str(row // size)) for row in range(rows * world)]
    outcomes, judged = run(texts, asked, size, world)
    assert sorted(judged) == sorted(texts[start : start + size] for start in range(0, len(texts), size))
    assert [o.answer for o in outcomes] == [
        "".join(texts[row - row % size :][:size]) + text for row, text in enumerate(texts)
    ]


def test_a_part_of_a_group_is_refused_in_one_line():
    alone = Rank(4, 0, 1, Meeting(1))
    with pytest.raises(RunFault, match=r"whole groups of 4, and this call has 6 completions on 1 process") as caught:
        in_groups(lambda *_: [], ["a"] * 6, [Example("p")] * 6, alone)
    assert "\n" not in str(caught.value)


def test_where_nobody_says_how_large_a_group_is_it_ends_with_its_example():
    seen = []
    score = lambda texts, examples, groups: seen.extend(map(list, groups)) or [Outcome()] * len(texts)
    asked = [Example("p", None, {}, name) for name in "aabbba"]
    in_groups(score, list("123456"), asked, None)
    assert seen == [[0, 1], [2, 3, 4], [5]]


def test_the_size_of_a_group_is_the_trainer_s_of_training_and_of_evaluation():
    model, ranks = SimpleNamespace(training=True), SimpleNamespace(process_index=2, num_processes=3)
    trainer = SimpleNamespace(model=model, num_generations=8, num_generations_eval=2, accelerator=ranks)
    found = GroupRanks(trainer)
    assert (found.size, found.rank, found.world) == (8, 2, 3)
    model.training = False
    assert found.size == 2


CODE = """
def first(completions, examples):
    "1 for the first of its group, and how many it has."
    return [10.0 * (place == 0) + len(completions) for place in range(len(completions))]
"""


def test_two_groups_of_one_prompt_stay_two_and_other_sources_are_left_out(tmp_path):
    (tmp_path / "grouped.py").write_text(CODE)
    verifier = Function(path="grouped:first", folder=str(tmp_path), form="group", sources=["a"])
    scorer = Scorer({"mine": verifier}, allow_code=True, workers=1, sources=["a", "b"])
    scorer.ranks = Rank(2, 0, 1, Meeting(1))
    one, other = Example("p", "1", {}, "x", "a"), Example("q", "1", {}, "y", "b")
    columns = columns_of([one, one, other, other, one, one, one, one])
    logged: dict[str, float] = {}
    (function,) = scorer.functions
    try:
        scores = function(completions=["t"] * 8, log_metric=logged.__setitem__, **columns)
        assert scores == [12.0, 2.0, None, None, 12.0, 2.0, 12.0, 2.0]
        assert logged["verifier/mine/failed"] == 0.0 and function.silence.completions == 6
        # In evaluation a prompt's samples follow each other.
        assert [o.score for o in scorer.verify(["t"] * 5, [one, one, one, other, other])] == [
            13.0,
            3.0,
            3.0,
            None,
            None,
        ]
    finally:
        scorer.close()
