"""Two processes whose groups lie on both: the stream of prompts takes the same decisions on each, and rows find their places."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from support import ranks, tiny

WORKER = Path(__file__).with_name("stream_ranks.py")


def test_groups_that_lie_on_two_ranks_are_replaced_and_recovered_in_lockstep(tmp_path: Path) -> None:
    ranks.run(WORKER, tiny.saved(), tmp_path / "seen", world=2, strategy="ddp")
    both = [json.loads((tmp_path / f"seen-{rank}.json").read_text()) for rank in (0, 1)]
    assert [found["engine"] for found in both] == [["DistributedDataParallel", 2]] * 2
    mine, other = (found["seen"] for found in both)
    assert len(mine) == len(other) == 12
    total: dict[str, float] = {}
    for a, b in zip(mine, other, strict=True):
        for key in ("scores", "items", "told", "memory", "passes"):
            assert a[key] == b[key], key
        prompts, completions = a["prompts"] + b["prompts"], a["completions"] + b["completions"]
        assert len(prompts) == 12  # three groups of four, six rows a rank: the second lies on both
        assert all(len(set(prompts[i : i + 4])) == 1 for i in (0, 4, 8))
        rewards = [float(any(c in "01" for c in text)) for text in completions]
        assert rewards == a["scores"] and a["shown"] == completions  # gathered on the main process
        spreads = [max(rewards[i : i + 4]) - min(rewards[i : i + 4]) for i in (0, 4, 8)]
        assert spreads.count(0) / 3 == pytest.approx(a["told"]["dynamic_sampling/left"])
        for at, advantage in enumerate(a["advantages"] + b["advantages"]):
            group = rewards[at // 4 * 4 : at // 4 * 4 + 4]
            mean = sum(group) / 4
            deviation = (sum((r - mean) ** 2 for r in group) / 3) ** 0.5
            assert advantage == pytest.approx((rewards[at] - mean) / (deviation + 1e-4), abs=1e-5)
        assert a["items"] == a["tokens"] + b["tokens"]
        assert a["answers"] + b["answers"] == [p + c[:1] for p, c in zip(prompts, completions, strict=True)]
        old = [gap > 1e-4 for gap in a["gap"] + b["gap"]]  # sampled by a policy that has moved since
        assert sum(old) / 12 == pytest.approx(a["told"]["rsr/recovered"])
        assert all(len({*old[i : i + 4]}) == 1 for i in (0, 4, 8))
        for key, value in a["told"].items():
            total[key] = total.get(key, 0) + value
    for key in ("dynamic_sampling/rounds", "dynamic_sampling/left", "rsr/recovered", "difficulty/known"):
        assert total[key] > 0, key
