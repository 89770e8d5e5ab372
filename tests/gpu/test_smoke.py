"""Ten steps of a real language model on one GPU: bf16, ZeRO-3, vLLM. `make smoke-gpu` prints one line for each."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from support import run_files

pytestmark = pytest.mark.gpu

ROOT = Path(__file__).parents[2]
COMMON = [
    "model.dtype=bfloat16",
    "trainer.bf16=true",
    "trainer.max_steps=10",
    "objective.penalties.+kl_ref.coef=0.01",
]
CASES = {
    "single process, bf16": [],
    "ZeRO-3": ["launch={strategy: zero3, num_processes: 1}"],
    "vLLM colocated": ["trainer.use_vllm=true", "trainer.vllm_mode=colocate"],
}


@pytest.mark.parametrize("case", CASES)
def test_ten_steps(case: str, tmp_path: Path) -> None:
    if not torch.cuda.is_available():
        pytest.fail("this target needs a CUDA device")
    if "vLLM" in case and find_spec("vllm") is None:
        pytest.fail("vLLM is not installed: pip install 'entropostat[vllm]'")
    recipe = str(ROOT / "recipes" / "models" / "smollm2-135m.yaml")
    done = subprocess.run(
        [sys.executable, "-m", "entropostat", "launch", recipe, *COMMON, *CASES[case], f"output_dir={tmp_path}"],
        env=dict(os.environ), capture_output=True, check=False, text=True, timeout=1200,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-4000:]
    steps = run_files.step_rows(tmp_path / "smollm2-135m")
    assert len(steps) == 10
    assert all(math.isfinite(row[key]) for row in steps for key in ("loss", "grad_norm", "entropy", "kl"))
    assert steps[-1]["kl"] > 0
