"""Two processes under DDP, each with an engine of its own."""

from __future__ import annotations

from pathlib import Path

import torch
from support import ranks

WORKER = Path(__file__).with_name("agree_ranks.py")


def test_two_ranks_are_one_policy_with_engines_that_draw_other_completions(path: str, tmp_path: Path) -> None:
    ranks.run(WORKER, path, tmp_path / "rank", strategy="ddp-cpu", world=2, seconds=400)
    one, two = (torch.load(tmp_path / f"rank-{rank}.pt", weights_only=True) for rank in (0, 1))
    assert torch.equal(one["weights"], two["weights"])
    assert len(one["gaps"]) == 4 and max(one["gaps"]) < 0.1, "of any token of both ranks"
    assert len(one["seen"]) == len(two["seen"]) == 8, "further rollouts on both"
    assert all(mine[0] != other[0] for mine, other in zip(one["seen"], two["seen"], strict=True)), "other prompts"
    drawn = [[completion for _, rows in rank["seen"] for completion in rows] for rank in (one, two)]
    assert drawn[0] != drawn[1]
