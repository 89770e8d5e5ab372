"""What is not finite on one rank is skipped by all of them, and they go on in step."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from entropostat.recipe.extends import RECIPES

WORKER = Path(__file__).with_name("faults.py")
ENGINES = {"ddp-cpu": ["DistributedDataParallel", 0, 2], "zero2": ["DeepSpeedEngine", 2, 2], "zero3": ["DeepSpeedEngine", 3, 2]}  # fmt: skip


@pytest.mark.parametrize("strategy", ["ddp-cpu", "zero2", pytest.param("zero3", marks=pytest.mark.slow)])
def test_a_fault_of_one_rank_is_a_skipped_step_of_all(tmp_path: Path, strategy: str) -> None:
    config = RECIPES / "accelerate" / f"{strategy}.yaml"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "accelerate.commands.launch", "--config_file", str(config),
         "--num_processes", "2", "--main_process_port", "0", str(WORKER), str(tmp_path / "rank")],
        env={**os.environ, "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"},
        capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    ranks = [json.loads((tmp_path / f"rank-{rank}.json").read_text()) for rank in (0, 1)]
    for case, guilty in (("a penalty of rank 1", 1), ("a constant of rank 0", 0)):
        for rank, told in enumerate(each[case] for each in ranks):
            assert told["engine"] == ENGINES[strategy]
            assert told["moved"] == [True, False, True, True], (case, rank)
            assert told["dumps"] == ([f"step-000002-rank{guilty}.json"] if rank == guilty else []), (case, rank)
        assert ranks[0][case]["counts"] == [0, 1, 1, 1]
        # The schedule waits for a skipped step.
        assert ranks[0][case]["rates"] == pytest.approx([0.01, 0.0075, 0.0075, 0.005])
        if strategy != "zero3":  # where each rank has other weights
            assert ranks[0][case]["weights"] == ranks[1][case]["weights"] < 1e6
