"""Sources that are asked for more than there is, or whose generator comes to no end: bounded, and said in one line."""

from __future__ import annotations

import contextlib
import json
import random
import signal
import time

import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from support.sources import load

from entropostat.catalog import load as catalog
from entropostat.data import chain
from entropostat.data.deadline import deadline as ended
from entropostat.data.example import DataError
from entropostat.data.registry import MOST
from entropostat.data.sources import reasoning_gym
from entropostat.recipe.blocks import Build


@settings(max_examples=40, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(
    length=st.integers(2, 4), size=st.integers(1, MOST), seed=st.integers(0, 9), modulus=st.sampled_from([2, 10_000])
)
def test_chain_gives_what_is_asked_for_or_all_there_is(length, size, seed, modulus):
    with ended(5, "draws for ever"):
        examples = load("chain", length=length, size=size, seed=seed, modulus=modulus)
    assert len({e.prompt for e in examples}) == len(examples) == min(size, chain.count(length))


@pytest.mark.parametrize(("length", "share"), [(4, 0.5), (4, 1), (5, 0.6)])
def test_chain_near_its_whole_is_drawn_without_throwing_away(length, share):

    wanted = int(chain.count(length) * share)
    drawn = Counted(3)
    texts = chain.expressions(length, wanted, drawn)
    assert len(set(texts)) == len(texts) == wanted and drawn.calls <= 2 * wanted * (2 * length - 1)
    assert all(chain.values(text, 10) for text in random.Random(0).sample(texts, 50))


class Counted(random.Random):
    """Counts its draws, and ends what would go on for ever."""

    calls = 0

    def choice(self, options):
        self.calls += 1
        assert self.calls < 5_000_000
        return super().choice(options)


@pytest.mark.parametrize("kind", [name for name, info in catalog().terms["sources"].items() if info.field("size")])
def test_a_size_beyond_what_memory_holds_is_refused_or_read_to_the_end_of_a_file(kind, tmp_path):
    high = catalog().terms["sources"][kind].field("size").limits.get("high")
    if kind in ("file", "hub"):
        (tmp_path / "rows").mkdir()
        (tmp_path / "rows" / "train.jsonl").write_text('{"prompt": "a", "answer": "b"}\n' * 3)
        path = "rows" if kind == "hub" else "rows/train.jsonl"
        assert high is None and len(load(kind, tmp_path, path=path, size=10**12)) == 3
    else:
        assert high == MOST


class Endless:
    """A task that draws until one fits, which none does, and takes what it is told for a draw that failed."""

    def __getitem__(self, index):
        end = time.monotonic() + 5
        while time.monotonic() < end:
            with contextlib.suppress(Exception):
                time.sleep(0.01)


class Broken:
    def __getitem__(self, index):
        raise IndexError("Cannot choose from\n an empty sequence")


@pytest.mark.parametrize(
    ("task", "said"), [(Endless, "prompt 0 is not there after 0.2 s"), (Broken, "Cannot choose from")]
)
def test_a_task_without_an_end_or_with_a_fault_is_one_line(task, said, monkeypatch):
    monkeypatch.setattr(reasoning_gym, "SECONDS", 0.2)
    monkeypatch.setattr(reasoning_gym, "generator", lambda recipe: task())
    with pytest.raises(DataError, match=said) as caught:
        load("reasoning_gym", task="chain_sum", size=3, options={"min_terms": 2})
    assert "\n" not in str(caught.value) and "task chain_sum, options {'min_terms': 2}" in str(caught.value)


def test_a_deadline_leaves_the_alarm_of_others_as_it_was():
    before = signal.getsignal(signal.SIGALRM)
    left, _ = signal.setitimer(signal.ITIMER_REAL, 50)
    try:
        with ended(5, "late"):
            pass
        assert signal.getsignal(signal.SIGALRM) is before and 45 < signal.getitimer(signal.ITIMER_REAL)[0] <= 50
    finally:
        signal.setitimer(signal.ITIMER_REAL, left)


def test_a_policy_all_of_whose_prompts_are_held_out_is_refused():
    from entropostat.trainers.build.pretrain import demonstrations

    with pytest.raises(ValueError, match=r"data.held_out: 0.999999 leaves the policy of model.build no chain"):
        demonstrations(Build(lengths=[2], seed=0), 0.999999, 10)


ROWS = {
    b'{"prompt": "\\ud800", "answer": "b"}': "line 1: prompt holds half of a surrogate pair",
    b'{"prompt": "a\xff", "answer": "b"}': "line 1: no UTF-8",
    b'{"prompt": "a", "answer": ' + b"[" * 100_000: "line 1: nested too deep",
    b'{"prompt": "a", "answer": ' + b"1" * 5000 + b"}": "line 1: a number of more digits",
    b'{"prompt": [{"role": "user", "content": [1]}], "answer": "b"}': "line 1: prompt.0 is 1; a prompt is",
    b'{"prompt": [{"role": "system", "content": "a"}], "answer": "b"}': "line 1: a conversational prompt has no message",
}


@pytest.mark.parametrize("row", ROWS, ids=range(len(ROWS)))
def test_a_row_that_is_none_is_named_by_its_line(row, tmp_path):
    (tmp_path / "rows.jsonl").write_bytes(row)
    with pytest.raises(DataError, match=ROWS[row]):
        load("file", tmp_path, path="rows.jsonl")
    (tmp_path / "rows.jsonl").write_bytes(b"\xef\xbb\xbf" + json.dumps({"prompt": "a", "answer": "b"}).encode())
    assert load("file", tmp_path, path="rows.jsonl")[0].prompt == "a"
