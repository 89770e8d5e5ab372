"""DeepSpeed's three stages train what DDP trains on as many ranks: live generation, reference model, controller and all."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from support import ranks, tiny

WORKER = Path(__file__).with_name("engines.py")
LIMIT = 1e-5
"""Of what is logged, in float32; the policy's own entries are held to a tenth of it."""


@pytest.fixture(scope="module")
def model() -> str:
    return tiny.saved()


def trained(model: str, folder: Path, strategy: str) -> list[dict[str, Any]]:
    """What each of two ranks wrote."""
    ranks.run(WORKER, model, folder / strategy, strategy=strategy, world=2)
    return [torch.load(folder / f"{strategy}-{rank}.pt", weights_only=False) for rank in (0, 1)]


@pytest.fixture(scope="module")
def ddp(model: str, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    return trained(model, tmp_path_factory.mktemp("ddp"), "ddp-cpu")


def test_ddp_ranks_generate_apart_and_are_controlled_together(ddp: Any, model: str) -> None:
    first, second = ddp
    for rank in ddp:
        assert (rank["world"], rank["engine"], rank["stage"]) == (2, "DistributedDataParallel", None)
    assert not all(torch.equal(a, b) for a, b in zip(first["completions"], second["completions"], strict=True))
    assert first["control"] == second["control"]
    assert all(torch.equal(first["params"][name], second["params"][name]) for name in first["params"])
    # Something worth comparing has happened.
    start = tiny.model().state_dict()
    assert max(float((p - start[name]).abs().max()) for name, p in first["params"].items()) > 1e-2
    coefs = [row["control/penalties.kl_ref.coef/output"] for row in first["rows"]]
    assert len(first["rows"]) == 6 and len(set(coefs)) > 2 and first["rows"][-1]["kl"] > 1e-3
    assert all(row["clip_cov/fraction"] > 0 and row["grad_norm"] > 1e-2 for row in first["rows"])


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_zero_trains_what_ddp_trains(ddp: Any, model: str, tmp_path: Path, stage: int) -> None:
    sharded = trained(model, tmp_path, f"zero{stage}")
    for rank, wanted in zip(sharded, ddp, strict=True):
        assert (rank["world"], rank["engine"], rank["stage"]) == (2, "DeepSpeedEngine", stage)
        assert rank["cut"] == [stage == 3] * 2, "policy and reference are cut by ZeRO-3 alone"
        assert all(torch.equal(a, b) for a, b in zip(rank["completions"], wanted["completions"], strict=True))
        assert len(rank["rows"]) == len(wanted["rows"]) and rank["rows"][0].keys() == wanted["rows"][0].keys()
        for row, expected in zip(rank["rows"], wanted["rows"], strict=True):
            assert row == pytest.approx(expected, rel=LIMIT, abs=LIMIT / 10)
    assert sharded[0]["control"] == sharded[1]["control"]
    params, wanted = sharded[0]["params"], ddp[0]["params"]
    assert params.keys() == wanted.keys()
    norm = sum(float(p.square().sum()) for p in wanted.values()) ** 0.5
    apart = sum(float((params[name] - p).square().sum()) for name, p in wanted.items()) ** 0.5
    assert apart <= LIMIT / 10 * norm
