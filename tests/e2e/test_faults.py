"""What breaks under a running training, or just before it: one line that names it, and the last checkpoint goes on."""

from __future__ import annotations

import os
import resource
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from support.at_step import at_step
from support.small_disk import small_disk

from entropostat.__main__ import main
from entropostat.environment import FAULT_NOTE
from entropostat.gate import Refused
from entropostat.recipe import load
from entropostat.recipe import packages as recipe_packages
from entropostat.rl.advantages.grpo import GRPO
from entropostat.trainers import packages
from entropostat.trainers.run import run_recipe

pytestmark = pytest.mark.usefixtures("cache")
PLAIN = "entropostat:quickstart/plain.yaml"
SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 8}]",
    "trainer={per_device_train_batch_size: 8, save_strategy: steps, save_steps: 2}",
    "evaluate={every: 0, prompts: 0, reference: false}",
]


@pytest.fixture
def train(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Exit code and last line of ``train``, whose output goes to ``tmp_path/runs``."""

    def call(*words: str, command: str = "train") -> tuple[int, str]:
        output = [] if any(word.startswith("output_dir=") for word in words) else [f"output_dir={tmp_path / 'runs'}"]
        code = main([command, PLAIN, *SHORT, *output, *words])
        said = capfd.readouterr().err
        assert "Traceback" not in said
        return code, said.strip().splitlines()[-1]

    return call


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Callable[[str], bool]]:
    """A file system of its own below ``tmp_path``; call it with mount options to change them."""
    with small_disk(tmp_path / "disk", "16m") as remount:
        yield remount


def test_a_full_disk_is_named_and_the_last_checkpoint_goes_on(
    tmp_path: Path, train: Any, disk: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    place = tmp_path / "disk"
    full = lambda: (place / "others").write_bytes(b"0" * (1 << 20)) and disk("size=3400k")
    with monkeypatch.context() as patch:
        at_step(3, full, patch)
        code, line = train(f"output_dir={place}")
    folder = place / "quickstart-plain"
    assert code == 1
    assert line.startswith(f"quickstart-plain: after step 4: no space left for {folder}")
    assert "free): make room, or lower trainer.save_total_limit. Intact: " in line
    assert f"{folder}/checkpoint-2; go on with: entropostat train {PLAIN}" in line
    disk("size=16m")
    assert load_file(folder / "checkpoint-2" / "model.safetensors")
    assert train(f"output_dir={place}", "--resume", str(folder / "checkpoint-2"))[0] == 0
    assert (folder / "final" / "model.safetensors").is_file()


def test_a_file_that_may_grow_no_further_is_a_full_disk_too(tmp_path: Path, train: Any, monkeypatch: Any) -> None:
    """The way to the fault that needs no rights: a bound on the size of a file."""
    bounds = resource.getrlimit(resource.RLIMIT_FSIZE)
    at_step(3, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 18, bounds[1])), monkeypatch)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        code, line = train()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, bounds)
        signal.signal(signal.SIGXFSZ, before)
    assert code == 1
    assert "after step 4: no space left for " in line and "checkpoint-2; go on with" in line


def test_a_folder_that_becomes_read_only_is_named(
    tmp_path: Path, train: Any, disk: Callable[[str], bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    at_step(4, lambda: disk("ro"), monkeypatch)
    code, line = train(f"output_dir={tmp_path / 'disk'}")
    assert code == 1
    assert "Read-only file system; make it writable, or choose another output_dir. Intact: " in line
    disk("rw")


def test_too_many_steps_that_are_not_finite_end_the_run_with_the_term(
    tmp_path: Path, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    method, calls = GRPO.__call__, []

    def nan(self: GRPO, batch: Any) -> Any:
        calls.append(1)
        value, metrics = method(self, batch)
        return value * (torch.nan if len(calls) > 1 else 1), metrics

    monkeypatch.setattr(GRPO, "__call__", nan)
    code, line = train("faults.max_nonfinite=3")
    folder = tmp_path / "runs" / "quickstart-plain"
    dump = folder / "nonfinite" / "step-000007-rank0.safetensors"
    assert code == 1 and dump.is_file()
    assert line.startswith(
        f"quickstart-plain: step 7: advantages is not finite (micro-batch 1, rank 0); its inputs: {dump}. 3 steps were not "
        f"finite, and faults.max_nonfinite is 3. Intact: {folder}/checkpoint-6; go on with: entropostat train "
    )
    saved = [load_file(folder / f"checkpoint-{step}" / "model.safetensors") for step in (4, 6)]
    assert all(torch.equal(saved[0][name], saved[1][name]) for name in saved[0])
    assert not (folder / "final").exists()


def test_workers_that_always_die_end_the_run_at_its_first_generation(
    tmp_path: Path, train: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "deadly.py").write_text("import os\n\ndef score(completion, example):\n    os._exit(9)\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    code, line = train("reward=[{function: {path: 'deadly:score'}}]", "--allow-code", "trainer.steps_per_generation=1")
    assert code == 1
    assert "reward.function failed on all 8 completions of the first generation: its worker process died" in line


def test_a_bug_keeps_its_traceback(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise TypeError("a bug")

    monkeypatch.setattr(GRPO, "__call__", broken)
    with pytest.raises(TypeError, match="a bug"):
        train()


SETUP: dict[str, tuple[list[str], dict[str, str], str]] = {
    "hub": (
        ["model={path: someone/model}"],
        {"HF_HUB_OFFLINE": "1"},
        "model.path: someone/model is neither a folder nor in the cache, and HF_HUB_OFFLINE forbids to ask the Hub: run",
    ),
    "data": (
        ["data={sources: {a: {hub: {path: someone/data}}}, curriculum: null}"],
        {"HF_HUB_OFFLINE": "1"},
        "cannot load path 'someone/data'",
    ),
    "server": (
        ["trainer={use_vllm: true, vllm_mode: server, vllm_server_base_url: 'http://127.0.0.1:9', vllm_server_timeout: 1}"],
        {},
        "at http://127.0.0.1:9 (trainer.vllm_server_base_url) within trainer.vllm_server_timeout, 1 s: [Errno 111] Connec",
    ),
    "gpu": ([], {"CUDA_VISIBLE_DEVICES": "0,1"}, "CUDA_VISIBLE_DEVICES=0,1 names 2 GPUs, and torch sees none: "),
    "world": ([], {"ENTROPOSTAT_EXPECT_WORLD": "4"}, "the launcher asked for 4 processes, but 1 run"),
}  # fmt: skip


@pytest.mark.parametrize("case", SETUP)
def test_what_is_missing_is_named_before_anything_runs(
    tmp_path: Path, train: Any, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, environment, message = SETUP[case]
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", "HF_HUB_OFFLINE" in environment)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for module in (recipe_packages, packages):  # as if vLLM were here
        monkeypatch.setattr(module, "find_spec", lambda name: name)
    note = tmp_path / "note"
    monkeypatch.setenv(FAULT_NOTE, str(note))
    code, line = train(*words)
    assert code == 2 and message in line
    assert note.read_text() == line, "what `launch` repeats below the launcher's own page"
    assert not list(tmp_path.glob("runs/*/metrics.jsonl"))


def test_python_passes_the_gate_of_the_commands(tmp_path: Path) -> None:
    recipe = load(PLAIN, [*SHORT, f"output_dir={tmp_path / 'runs'}", "evaluate.prompts=8", "data.held_out=0"])
    with pytest.raises(Refused, match=r"^error: data\.held_out: 0 leaves no prompts to evaluate on; "):
        run_recipe(recipe)
    assert not (tmp_path / "runs").exists()


def test_launch_asks_for_no_more_than_there_is(train: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    code, line = train("launch={strategy: ddp, num_processes: 2}", command="launch")
    assert code == 2 and "launch.num_processes: 2 processes on this machine, which has 1 GPU to see" in line

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for name, value in {"MACHINE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}.items():
            monkeypatch.setenv(name, value)
        code, line = train("launch={strategy: ddp, num_processes: 2, num_machines: 2}", command="launch")
    assert code == 2 and line.startswith(f"command line: MASTER_PORT: {port} cannot be used ([Errno 98]")
