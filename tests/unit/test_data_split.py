"""Held out means held out: by the prompt's text, whatever the source, its seed and its size."""

from __future__ import annotations

import pytest
from support.tables import table

from entropostat.data.example import DataError, Example
from entropostat.data.kept import Rules
from entropostat.data.registry import SOURCES
from entropostat.data.split import is_held_out


def chains(**options):
    return SOURCES.build("chain", options).load()


def split(sources, share, exclude=()):
    return table(sources, Rules(share, duplicates="keep"), sets={"tested": exclude} if exclude else None)


def test_train_and_held_out_share_no_prompt_across_sources_and_seeds():
    sides = [
        split({"a": chains(length=3, size=600, seed=seed), "b": chains(length=2), "c": chains(length=3, seed=9)}, 0.3)
        for seed in range(3)
    ]
    train = {e.text for side in sides for pool in side.train.values() for e in pool}
    held_out = {e.text for side in sides for pool in side.held_out.values() for e in pool}
    assert train and held_out and not train & held_out


def test_every_example_is_on_one_side():
    examples = chains(length=5, size=500)
    sides = split({"a": examples}, 0.2)
    assert sorted(e.id for side in (sides.train, sides.held_out) for e in side["a"]) == sorted(e.id for e in examples)


def test_share_is_met_and_growing_it_moves_prompts_one_way():
    texts = [f"prompt {i}" for i in range(20_000)]
    sizes = [sum(is_held_out(text, share) for text in texts) / len(texts) for share in (0.0, 0.05, 0.2, 1.0)]
    assert sizes == pytest.approx([0.0, 0.05, 0.2, 1.0], abs=0.01)
    assert all(is_held_out(text, 0.2) for text in texts if is_held_out(text, 0.05))


def test_hash_is_the_same_in_every_version_and_process():
    assert [is_held_out(f"prompt {i}", 0.5) for i in range(8)] == [False, False, True, True, True, True, True, False]


def test_conversation_and_its_text_fall_on_the_same_side():
    texts = [example.prompt for example in chains(length=5, size=50)]
    chats = [[{"role": "system", "content": "s"}, {"role": "user", "content": text}] for text in texts]
    sides = [[e.text for e in split({"x": [Example(p) for p in ps]}, 0.5).train["x"]] for ps in (texts, chats)]
    assert sides[0] == sides[1] == [text for text in texts if not is_held_out(text, 0.5)]


def test_benchmark_prompts_are_dropped_everywhere():
    examples = chains(length=5, size=200)
    sides = split({"a": examples}, 0.2, exclude=examples[:20])
    left = {e.id for side in (sides.train, sides.held_out) for e in side["a"]}
    assert left == {e.id for e in examples[20:]}


def test_a_repeated_held_out_prompt_counts_once():
    examples = [Example(f"p{i % 40}", id=str(i)) for i in range(200)]
    sides = split({"a": examples}, 0.5)
    assert len(sides.held_out["a"]) == len({e.text for e in sides.held_out["a"]})
    assert len(sides.train["a"]) == 5 * len({e.text for e in sides.train["a"]})


def test_an_empty_side_is_an_error_that_names_the_source():
    with pytest.raises(DataError, match=r"data.sources.tiny: none of its 1 prompts is held out"):
        split({"tiny": [Example("prompt 0")]}, 0.5)
    with pytest.raises(DataError, match=r"data.sources.tiny: no prompt is left to train on"):
        split({"tiny": [Example("prompt 2")]}, 0.5)
    assert not len(split({"tiny": [Example("prompt 0")]}, 0.0).held_out["tiny"])
