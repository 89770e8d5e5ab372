"""Our backward pass of TRL's head under FSDP2: whole weights reach the head, and their gradient is sharded as TRL's is."""

from __future__ import annotations

from pathlib import Path

import torch
from support import ranks

WORKER = Path(__file__).with_name("head_ranks.py")


def test_sharded_weights_get_the_gradient_that_whole_ones_get(tmp_path: Path) -> None:
    ranks.run(WORKER, tmp_path / "out", world=2, seconds=120)
    for rank in (0, 1):
        found = torch.load(tmp_path / f"out-{rank}.pt")
        assert found["tokens"] == [15], "of 27: taken, and over the pushed tokens alone"
        for name, whole in found["whole"].items():
            size = float(whole.abs().max())
            assert size > 0
            for side in ("TRL's", "ours"):
                torch.testing.assert_close(found[side][name], whole, rtol=1e-5, atol=1e-5 * size)
