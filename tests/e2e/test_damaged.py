"""Every file of a real checkpoint, damaged in five ways: the run before it goes on, in one line, and never with other numbers."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import pytest
from e2e.damaging import HARMS, apply
from support import tiny

from entropostat import checkpoints, manifest
from entropostat.recipe import Recipe, load


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with the checkpoints of steps 2, 4 and 6, and another seed's beside it."""
    folder = tmp_path_factory.mktemp("damaged")
    model = tiny.saved()
    for name, seed in (("run", 1), ("other", 2)):
        spec = tiny.objective(penalties=[{"kl_ref": {"coef": 0.1, "reference": "ema", "decay": 0.9}}])
        changes = {"save_strategy": "steps", "save_steps": 2, "max_steps": 6, "seed": seed}
        tiny.ours(model, spec, output_dir=str(folder / name), **changes).train()
    return folder / "run"


def recipe(run: Path) -> Recipe:
    return load("entropostat:quickstart/plain.yaml", [f"output_dir={run.parent}", f"name={run.name}"])


def files(run: Path) -> list[Path]:
    last = run / "checkpoint-6"
    return sorted(f.relative_to(last) for f in last.rglob("*") if f.is_file())


def test_what_a_checkpoint_holds_is_what_is_damaged_here(run: Path) -> None:
    names = {str(name) for name in files(run)}
    needed = {"model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth", "anchor.safetensors"}
    assert names >= needed | {"rank0.safetensors", "rank0.json", manifest.STATE, manifest.MANIFEST}


@pytest.mark.parametrize("other", ["run/checkpoint-4", "other/checkpoint-6"])
@pytest.mark.parametrize("way", HARMS)
def test_every_file_damaged_is_passed_over_in_one_line(
    run: Path, tmp_path: Path, way: str, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    asked, rng, alike = recipe(copy), random.Random(0), []
    for name in files(run):
        file = copy / "checkpoint-6" / name
        if apply(file, run.parent / other / name, way, rng):
            assert checkpoints.find(asked, "auto") == copy / "checkpoint-4", f"{way} {name}"
            (line,) = capsys.readouterr().err.splitlines()
            assert line.startswith(f"--resume auto: passing over {copy}/checkpoint-6, which is not complete (")
            with pytest.raises(FileNotFoundError, match=r"not complete|no checkpoint there"):
                checkpoints.find(asked, str(copy / "checkpoint-6"))
        else:
            alike.append(str(name))
        shutil.copyfile(run / "checkpoint-6" / name, file)
        assert checkpoints.find(asked, "auto") == copy / "checkpoint-6"
    assert "optimizer.pt" not in alike and "model.safetensors" not in alike and manifest.MANIFEST not in alike


def test_several_damaged_ones_are_a_line_each(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    for step, name in ((6, "scheduler.pt"), (4, manifest.MANIFEST)):
        (copy / f"checkpoint-{step}" / name).unlink()
    assert checkpoints.find(recipe(copy), "last") == copy / "checkpoint-2"
    assert [line.partition("which")[2] for line in capsys.readouterr().err.splitlines()] == [
        " is not complete (scheduler.pt is missing)",
        f" is not complete ({manifest.MANIFEST} is missing)",
    ]
