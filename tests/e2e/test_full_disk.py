"""A disk that is full at whatever size: one line, and the last checkpoint is whole."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.small_disk import small_disk

from entropostat import checkpoints
from entropostat.__main__ import main

PLAIN = "entropostat:quickstart/plain.yaml"
SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 4}]",
    "trainer={per_device_train_batch_size: 8, save_strategy: steps, save_steps: 1, save_total_limit: 2}",
    "evaluate={every: 0, prompts: 0, reference: false}",
    "tracking.completions=4",
]
WHOLE = 8 << 20
"""More than the run needs."""
LINE = re.compile(r"quickstart-plain: .*(no space left for|No space left on device)")


@pytest.fixture(scope="module")
def disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Path]]:
    """An empty file system of so many bytes."""
    place = tmp_path_factory.mktemp("full") / "disk"

    def of(size: int) -> Path:
        if size < WHOLE:
            shutil.rmtree(place / "run", ignore_errors=True)
        assert remount(f"size={size}")
        return place / "run"

    with small_disk(place, WHOLE) as remount:
        yield of


@pytest.fixture(scope="module")
def needed(disk: Callable[[int], Path], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Bytes on the disk that the run takes at its fullest."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("full-cache")))
        run = disk(WHOLE - 4096)
        assert main(["train", PLAIN, *SHORT, f"output_dir={run}"]) == 0
        checkpoint = sum(f.stat().st_size for f in (run / "quickstart-plain" / "checkpoint-4").rglob("*"))
        yield 4 * checkpoint  # two that are kept, one that is being written, and the policy at the end


@pytest.mark.parametrize("sizes", [6, pytest.param(40, marks=pytest.mark.slow)])
def test_a_disk_full_at_any_size_ends_in_one_line_with_the_last_checkpoint_whole(
    sizes: int, disk: Callable[[int], Path], needed: int, capfd: pytest.CaptureFixture[str]
) -> None:
    reached = set()
    for part in range(1, sizes + 1):
        size = needed * part // sizes // 4096 * 4096
        run = disk(size)
        capfd.readouterr()
        code = main(["train", PLAIN, *SHORT, f"output_dir={run}"])
        said = capfd.readouterr().err
        last = said.strip().splitlines()[-1]
        assert "Traceback" not in said and (code == 0 or LINE.match(last)), f"{size} bytes: {code} {said[-2000:]}"
        folder = run / "quickstart-plain"
        saved = checkpoints.oldest_first(folder)
        assert [checkpoints.damage(each) for each in saved] == [None] * len(saved), f"{size} bytes"
        assert not list(folder.glob(".*.partial")), f"{size} bytes"
        if code and saved:
            assert f"Intact: {saved[-1]}; go on with: " in last
        reached.add(len(saved))
    disk(WHOLE)
    assert reached >= {0, 1, 2}
    assert main(["train", PLAIN, *SHORT, f"output_dir={run}", "--resume", "auto"]) == 0
