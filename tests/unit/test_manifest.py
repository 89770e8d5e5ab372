"""A checkpoint is what was saved, to the bit, or it is known not to be."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from entropostat import checkpoints, manifest
from entropostat.manifest import MANIFEST, STATE, Damage
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.resume import fingerprint

FILES = (STATE, "optimizer.pt", "global_step6/rank0.pt", "global_step6/rank1.pt", "empty")
PLAIN = "entropostat:quickstart/plain.yaml"
OWN = sorted(path for path in RECIPES.rglob("*.yaml") if path.parent.name not in ("accelerate", "base"))
"""Recipes that can be trained as they are."""


def saved(run: Path, step: int = 6, seed: int = 0, **facts: object) -> Path:
    folder = run / f"checkpoint-{step}"
    for name in FILES:
        file = folder / name.replace("6", str(step))
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(b"" if name == "empty" else f"{name} {step} {seed}".encode() * 50)
    manifest.seal(folder, **{"world_size": 2, "engine": "zero2", **facts})
    return folder


def truncate(file: Path, other: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def zero(file: Path, other: Path) -> None:
    file.write_bytes(bytes(file.stat().st_size))


def swap(file: Path, other: Path) -> None:
    shutil.copyfile(other, file)


def delete(file: Path, other: Path) -> None:
    file.unlink()


def link(file: Path, other: Path) -> None:
    file.rename(other.with_name("moved"))
    file.symlink_to(other.with_name("moved"))


DAMAGES = (truncate, zero, swap, delete, link)


@pytest.mark.parametrize("harm", DAMAGES, ids=lambda harm: harm.__name__)
@pytest.mark.parametrize("name", [*FILES[:-1], MANIFEST])
def test_every_file_is_missed_or_known_to_be_another(
    tmp_path: Path, name: str, harm: Callable[[Path, Path], None]
) -> None:
    folder, other = saved(tmp_path / "run"), saved(tmp_path / "other", seed=1)
    assert checkpoints.damage(folder) is None
    harm(folder / name, other / name)
    damage = checkpoints.damage(folder)
    assert damage is not None and (name in damage or name == MANIFEST) and "\n" not in damage


@pytest.mark.parametrize("name", [STATE, "global_step6/rank1.pt", MANIFEST])
def test_one_bit_anywhere_is_seen(tmp_path: Path, name: str) -> None:
    folder = saved(tmp_path)
    content = bytearray((folder / name).read_bytes())
    for bit in range(0, 8 * len(content), 7):
        content[bit // 8] ^= 1 << bit % 8
        (folder / name).write_bytes(content)
        assert checkpoints.damage(folder) is not None, f"bit {bit}"
        content[bit // 8] ^= 1 << bit % 8
    (folder / name).write_bytes(content)
    assert checkpoints.damage(folder) is None


def test_a_manifest_that_was_edited_and_fits_its_files_is_seen(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    file = folder / MANIFEST
    text = file.read_text()
    for before, after in (('"world_size": 2', '"world_size": 1'), ("\n ", "\n  "), ('"zero2"', '"\\u007aero2"')):
        file.write_text(text.replace(before, after, 1))
        assert checkpoints.damage(folder) == f"{MANIFEST} was changed after it was sealed"


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "null", "1", "{}", '{"files": 3}', "[" * 5000, "\udcff", '{"step": ' + "9" * 5000 + "}"]
)
def test_what_is_no_manifest_is_damage_in_one_line(tmp_path: Path, text: str) -> None:
    folder = saved(tmp_path)
    (folder / MANIFEST).write_bytes(text.encode("utf-8", "surrogateescape"))
    damage = checkpoints.damage(folder)
    assert damage is not None and damage.startswith(f"{MANIFEST} cannot be read: ") and "\n" not in damage


def test_a_checkpoint_from_before_there_were_hashes_is_not_taken_at_its_word(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    sizes = {name.name: name.stat().st_size for name in folder.iterdir()}
    (folder / MANIFEST).write_text(json.dumps({"world_size": 2, "engine": "zero2", "saved": 1.0, "files": sizes}))
    assert "cannot be read: seal: Field required" in str(checkpoints.damage(folder))
    (folder / MANIFEST).unlink()
    assert checkpoints.damage(folder) == f"{MANIFEST} is missing"


def test_a_whole_checkpoint_of_another_step_is_not_that_of_this_one(tmp_path: Path) -> None:
    folder = saved(tmp_path / "run", step=4).rename(tmp_path / "run" / "checkpoint-6")
    assert checkpoints.damage(folder) == f"{MANIFEST} is that of step 4"


def test_what_nobody_saved_is_seen_and_what_a_file_system_leaves_is_not(tmp_path: Path) -> None:
    folder = saved(tmp_path)
    (folder / ".nfs0001").touch()
    (folder / ".DS_Store").touch()
    assert checkpoints.damage(folder) is None
    (folder / "scaler.pt").touch()
    assert checkpoints.damage(folder) == "scaler.pt was not saved with it"


def test_a_file_that_cannot_be_read_is_damage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(path: Path) -> str:
        raise OSError(5, "Input/output error", str(path))

    folder = saved(tmp_path)
    monkeypatch.setattr(manifest, "_hash", broken)
    with pytest.raises(Damage, match=r"Input/output error$"):
        manifest.check(folder)


def test_a_checkpoint_of_another_seed_is_passed_over_in_this_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recipe = load(PLAIN, [f"output_dir={tmp_path}", "name=run"])
    other = load(PLAIN, [f"output_dir={tmp_path}", "name=run", "seed=3"])
    first = saved(recipe.run_dir, 4, recipe=fingerprint(recipe, 4))
    (recipe.run_dir / "recipe.yaml").write_text(recipe.dump())
    foreign = saved(recipe.run_dir, 6, recipe=fingerprint(other, 6))
    assert checkpoints.find(recipe, "auto") == first
    (line,) = capsys.readouterr().err.splitlines()
    assert "checkpoint-6, which is not complete (it was saved with another recipe or seed than" in line
    with pytest.raises(FileNotFoundError, match="another recipe or seed"):
        checkpoints.find(recipe, str(foreign))
    (recipe.run_dir / "recipe.yaml").unlink()
    with pytest.raises(ValueError, match=r"the seed was another, and there is no .*recipe\.yaml to say"):
        checkpoints.check(recipe, foreign, 2)


@pytest.mark.parametrize("path", OWN, ids=lambda path: path.stem)
def test_the_recipe_in_the_run_folder_has_the_fingerprint_of_the_one_that_began_it(path: Path, tmp_path: Path) -> None:
    recipe = load(path)
    (tmp_path / "recipe.yaml").write_text(recipe.dump())
    again = load(tmp_path / "recipe.yaml")
    assert fingerprint(again, 3) == fingerprint(recipe, 3)
    assert fingerprint(load(path, [f"seed={recipe.seed + 1}"]), 3) != fingerprint(recipe, 3)
