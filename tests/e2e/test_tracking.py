"""Trackers without an account: wandb's offline files and trackio's local database hold the run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_wandb_offline_and_trackio(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "entropostat", "train", str(ROOT / "recipes/quickstart/pid-kl.yaml"),
         "model.build.steps=5", "data.curriculum=[{source: easy, steps: 4}]", "trainer.per_device_train_batch_size=8",
         "evaluate.prompts=2", "evaluate.samples=2", "evaluate.k=[1, 2]", f"output_dir={tmp_path}",
         "tracking.wandb={project: trial, mode: offline}", "tracking.trackio={project: trial}"],
        env={**os.environ, "OMP_NUM_THREADS": "1", "XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1",
             "TRACKIO_DIR": str(tmp_path / "trackio")},
        capture_output=True, check=False, text=True, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    (record,) = (tmp_path / "quickstart-pid-kl").glob("wandb/offline-run-*/run-*.wandb")
    content = record.read_bytes()
    for key in (b"evaluate/easy/pass@1", b"control/penalties.kl_ref.coef/output", b"entropy"):
        assert key in content
    assert list((tmp_path / "trackio").glob("**/trial*")), "trackio wrote no database"
