"""The page of one's first hour, done as it says: its files, its commands, its numbers' shape."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

PAGE = (Path(__file__).parents[2] / "docs" / "first-hour.md").read_text()


def block(name: str) -> str:
    (text,) = re.findall(rf"```\w+\n# {re.escape(name)}\n(.*?)```", PAGE, re.DOTALL)
    return str(text)


def run(folder: Path, *words: str) -> str:
    env = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "XDG_CACHE_HOME": str(folder / "cache")}
    done = subprocess.run(
        [sys.executable, *words], cwd=folder, env=env, capture_output=True, check=False, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("first")
    for name in ("make_rows.py", "my_rewards.py", "mine.yaml", "hub.yaml"):
        (place / name).write_text(block(name))
    run(place, "make_rows.py")
    return place


def test_the_page_is_true_from_its_rows_to_its_model(folder: Path) -> None:
    told = run(folder, "-m", "entropostat", "data", "mine.yaml")
    for line in re.findall(r"^(?:sums  .*|dropped from .*|  numeric reads .*|  6  306 .*)$", PAGE, re.MULTILINE):
        assert line in told, line
    ended = run(folder, "-m", "entropostat", "train", "mine.yaml", "--allow-code")
    (pass1,) = re.findall(r"^sums/pass@1 +([\d.]+)$", ended, re.MULTILINE)
    assert float(pass1) > 0.3, "the untrained policy is right on a fifth"
    measured = run(folder, "-m", "entropostat", "evaluate", "mine.yaml", "--model", "runs/mine/final", "--allow-code")
    (again,) = re.findall(r"^runs/mine/final +sums +\d+ +([\d.]+)", measured, re.MULTILINE)
    assert float(again) == pytest.approx(float(pass1), abs=5e-4)
    assert "required: sums/pass@1 >= 0.3: holds" in run(
        folder, "-m", "entropostat", "compare", "runs/mine", "--require", "sums/pass@1 >= 0.3"
    )


def test_the_recipe_for_a_model_of_the_hub_plans_without_a_warning(folder: Path) -> None:
    told = run(folder, "-m", "entropostat", "plan", "hub.yaml")
    assert "warning" not in told and "error" not in told
