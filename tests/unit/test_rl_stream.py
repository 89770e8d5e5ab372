"""The links of the stream of prompts, on plain numbers; what they remember; where further prompts come from."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
import torch
from datasets import Dataset

from entropostat.rl.objective import Objective
from entropostat.rl.registry import DATA
from entropostat.rl.stream import Group, Recovery, Refill, Seen, Sieve
from entropostat.trainers.rollout.bank import COMPLETION, PROMPT, Bank, joined
from entropostat.trainers.rollout.reserve import Reserve, identity
from entropostat.trainers.rollout.sieves import Sieves

NAN = math.nan


def built(*links: Any) -> Objective:
    named = [(next(iter(x)), next(iter(x)), next(iter(x.values()))) for x in links]
    return Objective.build({"loss": ("trl", "trl", {}), "data": named})


@pytest.mark.parametrize(
    ("rewards", "teaches"),
    [
        ([1, 1, 1, 1], False),
        ([0, 0, 0, 1], True),
        ([0.5, 0.5 + 1e-7], False),  # rounding
        ([NAN, 1, 1], False),
        ([NAN, 0, 1], True),
        ([NAN, NAN, 1], False),
        ([NAN], False),
        ([1], False),
    ],
)
def test_a_group_teaches_where_two_of_its_scores_differ(rewards, teaches):
    assert DATA.build("dynamic_sampling").teaches(rewards) is teaches


def test_a_round_draws_for_what_is_missing_and_never_more_than_a_generation():
    asks = DATA.build("dynamic_sampling", {"oversample": 2.5}).asks
    assert [asks(missing, 16) for missing in (1, 2, 6, 7, 16)] == [3, 5, 15, 16, 16]
    assert DATA.build("dynamic_sampling").asks(3, 16) == 3


def test_what_waits_comes_first_and_what_is_too_much_waits():
    # 4 places: two that waited, three that are fresh. The newest finds no place.
    assert DATA.build("rsr").split("ab", "cde", 4) == ([*"abcd"], [*"e"])
    assert DATA.build("rsr").split("", "cd", 4) == ([*"cd"], [])


def test_difficulty_leaves_out_what_is_too_easy_or_too_hard_until_it_is_time_to_look_again():
    term = DATA.build("difficulty", {"low": 0.25, "high": 0.75, "memory": 0.5, "recheck": 10})
    rate = term.measure(Group((1.0, 0.6, 0.4, NAN, 0.0)))
    assert rate == 0.5  # two of the four that were scored
    first = term.recall(None, 1.0, 3)
    assert first == Seen(1.0, 3) and term.recall(first, 0.0, 5) == Seen(0.5, 5)
    taken = {value: term.takes(Seen(value, 3), 0.0, 4) for value in (0.0, 0.25, 0.75, 0.76, 1.0)}
    assert taken == {0.0: 0, 0.25: 1, 0.75: 1, 0.76: 0, 1.0: 0}
    assert [term.takes(first, 0.0, now) for now in (12, 13)] == [0, 1]
    assert math.isnan(term.measure(Group((NAN, NAN))))


def test_diversity_thins_out_what_is_less_diverse_than_usual():
    term = DATA.build("diversity_weighted", {"floor": 0.2})
    assert term.measure(Group((1.0, 1.0, 0.0, 0.0))) == 0.5  # the deviation
    assert [term.takes(Seen(d, 0), 0.4, 1) for d in (0.0, 0.2, 0.4, 0.8)] == pytest.approx([0.2, 0.6, 1, 1])
    assert term.takes(Seen(0.0, 0), 0.0, 1) == 1  # where nothing is diverse, all are alike
    by = DATA.build("diversity_weighted", {"by": "answers"})
    assert by.measure(Group((0.0,) * 4, ("6", "6", "7", None))) == pytest.approx(0.5 * math.log(2) + 0.5 * math.log(4))
    assert by.measure(Group((0.0,) * 4, ("6",) * 4)) == 0 and math.isnan(by.measure(Group((0.0, 1.0))))


def test_links_that_need_another_or_do_the_same_are_refused():
    with pytest.raises(ValueError, match=r"rsr keeps groups .*: add dynamic_sampling to data"):
        built({"rsr": {}})
    spec = {"loss": ("trl", "trl", {}), "data": [("a", "dynamic_sampling", {}), ("b", "dynamic_sampling", {})]}
    with pytest.raises(ValueError, match="a and b both draw further prompts: keep one"):
        Objective.build(spec)
    found = built({"difficulty": {}}, {"dynamic_sampling": {}}, {"rsr": {}})
    assert found.refill is not None and isinstance(found.refill.term, Refill)
    assert found.recovery is not None and isinstance(found.recovery.term, Recovery)
    assert built({"difficulty": {}}).refill is None and "old_logps" in found.rollout_needs


@pytest.mark.parametrize("name", [n for n in DATA.names() if issubclass(DATA[n], Sieve)])
def test_every_sieve_gives_a_chance_and_says_what_it_measures(name):
    term: Any = DATA.build(name)
    assert term.reports in term.info.provides and {"known", "left_out"} <= {*term.info.provides}
    for value in (0.0, 0.3, 1.0):
        for level in (0.0, 0.2, 5.0):
            assert 0 <= term.takes(Seen(value, 0), level, 1) <= 1


def sieved(*links: Any) -> tuple[Sieves, Objective]:
    return Sieves(7), built(*links)


def test_a_sieve_remembers_by_prompt_and_a_checkpoint_remembers_it_too():
    sieves, objective = sieved({"difficulty": {"memory": 0.0}})
    sieves.begin(objective.data, 0)
    assert all(map(sieves.takes, "abc"))  # none is known
    for key, rate in zip("abc", (0.0, 0.5, 1.0), strict=True):
        sieves.remember(key, Group((rate,) * 2 if rate != 0.5 else (0.0, 1.0)))
    assert dict(sieves.report()) == {"difficulty": {"known": 0, "left_out": 0, "rate": 0.5}}
    other = Sieves(7)
    other.restore(json.loads(json.dumps(sieves.state())))
    for each in (sieves, other):
        each.begin(objective.data, 1)
        assert [each.takes(key) for key in "abcd"] == [False, True, False, True]
        assert dict(each.report())["difficulty"] == {"known": 0.75, "left_out": 0.5}


def test_a_chance_is_met_in_the_long_run_and_is_the_same_for_the_same_generation():
    sieves, objective = sieved({"diversity_weighted": {"floor": 0.3}})
    sieves.begin(objective.data, 0)
    sieves.remember("dull", Group((1.0, 1.0)))
    sieves.remember("lively", Group((1.0, 0.0)))
    taken = []
    for now in range(1, 1001):
        sieves.begin(objective.data, now)
        taken.append(sieves.takes("dull"))
        assert sieves.takes("lively")
    assert 0.25 < sum(taken) / len(taken) < 0.35  # .3, six deviations of .0145 wide
    sieves.begin(objective.data, 5)
    assert sieves.takes("dull") is taken[4]


def test_a_chain_of_sieves_asks_the_later_ones_only_about_what_the_former_took():
    sieves, objective = sieved({"difficulty": {"memory": 0.0}}, {"diversity_weighted": {"floor": 0.0, "memory": 0.0}})
    sieves.begin(objective.data, 0)
    for key, rewards in {"solved": (1.0, 1.0), "open": (1.0, 0.0)}.items():
        sieves.remember(key, Group(rewards))
    sieves.begin(objective.data, 1)
    assert [sieves.takes("solved"), sieves.takes("open")] == [False, True]
    told = dict(sieves.report())
    assert told["difficulty"] == {"known": 1, "left_out": 0.5}
    assert told["diversity_weighted"] == {"known": 1, "left_out": 0}


def table(*sources: str) -> Dataset:
    return Dataset.from_dict({"prompt": [f"{i}=" for i in range(len(sources))] * 2, "source": [*sources] * 2})


def test_further_prompts_come_once_a_pass_from_the_sources_that_are_asked_for():
    reserve = Reserve(table("a", "a", "b", "a", "b"), seed=1)
    first = [place for _, place in reserve.draw(3, ["a"], lambda key: True)]
    assert sorted(first) == [0, 1, 3]  # each prompt of the source, wherever else it stands
    assert sorted(place for _, place in reserve.draw(9, ["a"], lambda key: True)) == [0, 1, 3]
    assert {place for _, place in reserve.draw(5, ["a", "b"], lambda key: True)} == {0, 1, 2, 3, 4}
    assert all(key == identity(reserve.table[place]) for key, place in reserve.draw(3, ["a"], lambda key: True))
    assert reserve.draw(3, ["a"], lambda key: False) == [] and reserve.draw(3, ["c"], lambda key: True) == []


def test_a_reserve_goes_on_where_its_checkpoint_was():
    whole = Reserve(table(*"aaaaaaa"), seed=1)
    takes = lambda key: True
    begun = [whole.draw(3, ["a"], takes) for _ in range(3)]
    kept = json.loads(json.dumps(whole.passes))
    rest = [whole.draw(3, ["a"], takes) for _ in range(4)]
    again = Reserve(table(*"aaaaaaa"), seed=1)
    again.passes = kept
    assert [again.draw(3, ["a"], takes) for _ in range(4)] == rest != begun


class Padding:
    class _tokenizer:
        pad_token_id = 9


def bank(prompt: int, completion: int, rows: int, fill: int) -> Bank:
    ids = lambda width: torch.full((rows, width), fill)
    tensors = {
        "prompt_ids": ids(prompt), "completion_ids": ids(completion), "tool_mask": torch.zeros(rows, completion),
        "ratio": torch.full((rows, 1), float(fill)), "moments": torch.full((rows, completion, 2), float(fill)),
        "advantages": torch.arange(rows), "per_func": torch.full((rows, 2), float(fill)),
    }  # fmt: skip
    widths = {PROMPT: torch.full((rows,), prompt), COMPLETION: torch.full((rows,), completion)}
    return Bank(tensors, widths, [f"{fill}{i}" for i in range(rows)], {"prompt": [fill] * rows})


def test_rows_of_two_rollouts_are_padded_as_trl_pads_and_cut_to_what_they_fill():
    whole = joined(Padding, [bank(2, 3, 4, 1), bank(4, 2, 2, 2)])
    assert whole.tensors["prompt_ids"][0].tolist() == [9, 9, 1, 1]
    assert whole.tensors["completion_ids"][5].tolist() == [2, 2, 9]
    assert whole.tensors["tool_mask"][5].tolist() == [0, 0, 1] and whole.tensors["ratio"].shape == (6, 1)
    assert whole.tensors["moments"][5].tolist() == [[2, 2], [2, 2], [0, 0]]
    short = whole.groups([2], 2)
    assert {key: tuple(x.shape) for key, x in short.tensors.items()} == {
        "prompt_ids": (2, 4), "completion_ids": (2, 2), "tool_mask": (2, 2), "ratio": (2, 1), "moments": (2, 2, 2),
        "advantages": (2,), "per_func": (2, 2),
    }  # fmt: skip
    assert short.answers == ["20", "21"] and short.shown == {"prompt": [2, 2]}
    assert whole.groups([0], 2).tensors["prompt_ids"].tolist() == [[1, 1], [1, 1]]
