"""Folders and files are whole under their name, or not there."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from entropostat import atomic


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_folder_has_its_name_only_when_everything_in_it_is_synced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "checkpoint-3"
    synced: list[str] = []
    sync = atomic.sync_path

    def watched(path: Path) -> None:
        synced.append(path.name if path != tmp_path else "parent")
        assert final.exists() == (path == tmp_path)
        sync(path)

    monkeypatch.setattr(atomic, "sync_path", watched)
    with atomic.whole_folder(final, seal=lambda folder: (folder / "seal").write_text("x") and None) as folder:
        (folder / "deep").mkdir(parents=True)
        (folder / "deep" / "file").write_text("content")
        assert not final.exists() and folder.name == final.name
    assert names(tmp_path) == ["checkpoint-3", "checkpoint-3/deep", "checkpoint-3/deep/file", "checkpoint-3/seal"]
    assert synced == ["deep", "file", "seal", "checkpoint-3", "parent"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_what_goes_wrong_inside_leaves_the_old_folder_and_no_half_one(tmp_path: Path, error: BaseException) -> None:
    final = tmp_path / "final"
    final.mkdir()
    (final / "old").touch()
    with pytest.raises(type(error)), atomic.whole_folder(final) as folder:
        folder.mkdir()
        (folder / "new").touch()
        raise error
    assert names(tmp_path) == ["final", "final/old"]


def test_a_disk_that_cannot_sync_leaves_the_old_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    (tmp_path / "final").mkdir()
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"), atomic.whole_folder(tmp_path / "final") as folder:
        folder.mkdir()
        (folder / "new").touch()
    assert names(tmp_path) == ["final"]


def test_the_folder_that_was_there_is_replaced_and_comes_back_if_that_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    final = tmp_path / "final"

    def write(text: str) -> None:
        with atomic.whole_folder(final) as folder:
            folder.mkdir()
            (folder / "file").write_text(text)

    write("first")
    write("second")
    assert names(tmp_path) == ["final", "final/file"] and (final / "file").read_text() == "second"

    rename = Path.rename

    def interrupted(self: Path, target: Any) -> Path:
        if Path(target) == final and self.parent.name == ".final.partial" and self.name == "final":
            raise KeyboardInterrupt
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write("third")
    assert names(tmp_path) == ["final", "final/file"] and (final / "file").read_text() == "second"


def test_what_a_kill_left_is_swept_before_the_next_folder_is_written(tmp_path: Path) -> None:
    for left in (".checkpoint-3.partial/checkpoint-3", ".final.partial/replaced", "checkpoint-6"):
        (tmp_path / left).mkdir(parents=True)
        (tmp_path / left / "file").touch()
    with atomic.whole_folder(tmp_path / "checkpoint-9") as folder:
        assert names(tmp_path) == [".checkpoint-9.partial", "checkpoint-6", "checkpoint-6/file"]
        folder.mkdir()
    assert names(tmp_path) == ["checkpoint-6", "checkpoint-6/file", "checkpoint-9"]


def test_a_folder_that_is_removed_loses_its_name_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "checkpoint-3").mkdir()
    (tmp_path / "checkpoint-3" / "file").touch()
    seen: list[list[str]] = []
    remove = atomic.shutil.rmtree

    def watched(path: Path, **options: Any) -> None:
        seen.append(names(tmp_path))
        remove(path, **options)

    monkeypatch.setattr(atomic.shutil, "rmtree", watched)
    atomic.discard(tmp_path / "checkpoint-3")
    at = ".checkpoint-3.partial"
    assert seen == [[at, f"{at}/checkpoint-3", f"{at}/checkpoint-3/file"]] and names(tmp_path) == []


def test_ranks_write_between_the_same_waits_and_one_renames(tmp_path: Path) -> None:
    final, waits = tmp_path / "checkpoint-3", []
    other = atomic.whole_folder(final, wait=lambda: waits.append(names(tmp_path)), lead=False, sync=False)
    (tmp_path / ".checkpoint-3.partial").mkdir()  # by the one that leads
    with other as folder:
        folder.mkdir()
        (folder / "rank1").touch()
    assert len(waits) == 4 and not final.exists()
    assert waits[-1][-1] == ".checkpoint-3.partial/checkpoint-3/rank1"


def test_a_file_is_the_old_one_or_the_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "recipe.yaml"
    atomic.write_whole(file, "old")

    def full(descriptor: int) -> None:
        assert file.read_text() == "old"
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        atomic.write_whole(file, "new")
    assert names(tmp_path) == ["recipe.yaml"] and file.read_text() == "old"
