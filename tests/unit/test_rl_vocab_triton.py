"""Where the Triton kernels of the vocabulary pass run, and that they agree with torch under Triton's interpreter."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from entropostat.rl import vocab
from entropostat.rl.vocab import OUTPUTS, Wanted

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class Imported:
    """Stands for the module of the kernels."""

    Kernels = object()


@pytest.fixture
def triton(monkeypatch: pytest.MonkeyPatch) -> None:
    """An installation with Triton, whatever this one has."""
    monkeypatch.setattr(vocab, "find_spec", lambda name: object())
    monkeypatch.setitem(sys.modules, "entropostat.rl.vocab_triton", Imported)  # type: ignore[arg-type]
    monkeypatch.delenv("ENTROPOSTAT_VOCAB", raising=False)


EVERYTHING = Wanted(OUTPUTS, (0.5, 2.0), top_k=7)


@pytest.mark.usefixtures("triton")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_on_cuda_all_plain_statistics_go_to_the_kernels(dtype: torch.dtype) -> None:
    assert vocab._kernels(CUDA, dtype, EVERYTHING, False) is Imported.Kernels
    assert vocab._kernels(CPU, dtype, EVERYTHING, False) is None


@pytest.mark.usefixtures("triton")
def test_what_the_kernels_do_not_cover_stays_with_torch() -> None:
    for wanted in (Wanted(OUTPUTS, min_p=0.1), Wanted(OUTPUTS, top_p=0.9)):
        assert vocab._kernels(CUDA, torch.float32, wanted, False) is None
    assert vocab._kernels(CUDA, torch.float32, EVERYTHING, True) is None
    assert vocab._kernels(CUDA, torch.float64, EVERYTHING, False) is None


def test_without_triton_everything_stays_with_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocab, "find_spec", lambda name: None)
    monkeypatch.delenv("ENTROPOSTAT_VOCAB", raising=False)
    assert vocab._kernels(CUDA, torch.float32, EVERYTHING, False) is None


@pytest.mark.usefixtures("triton")
def test_the_environment_decides_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ENTROPOSTAT_VOCAB", "torch")
    assert vocab._kernels(CUDA, torch.float32, EVERYTHING, False) is None
    monkeypatch.setenv("ENTROPOSTAT_VOCAB", "triton")
    assert vocab._kernels(CPU, torch.float32, EVERYTHING, False) is Imported.Kernels
    monkeypatch.setenv("ENTROPOSTAT_VOCAB", "cuda")
    with pytest.raises(ValueError, match="ENTROPOSTAT_VOCAB=cuda: must be torch or triton"):
        vocab._kernels(CPU, torch.float32, EVERYTHING, False)


def test_importing_the_pass_does_not_import_triton() -> None:
    code = "import sys, entropostat.rl.vocab; sys.exit('triton' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_agree_with_torch() -> None:
    cases = Path(__file__).with_name("interpreted_vocab.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(cases)]
    done = subprocess.run(command, cwd=cases.parents[2], capture_output=True, check=False, text=True, timeout=500)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " skipped" not in done.stdout


@pytest.mark.skipif(find_spec("triton") is None, reason="Triton is not installed")
def test_the_kernels_compile_for_a_card(tmp_path: Path) -> None:
    """The compiler is stricter than the interpreter, and needs no card."""
    env = os.environ | {"TRITON_CACHE_DIR": str(tmp_path), "TRITON_INTERPRET": "0"}
    command = [sys.executable, "-c", COMPILE]
    done = subprocess.run(command, env=env, capture_output=True, check=False, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-4000:]


COMPILE = """
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from entropostat.rl import vocab_triton

KINDS = {"labels_ptr": "*i64", "top_ptr": "*i64", "inner": "fp32", "outer": "fp32", "factor": "fp32"}
for tile, some in (("*fp32", False), ("*bf16", True)):
    flags = {name: some for name in ("ENTROPY", "SQUARES", "SQUARES_LOGP", "TOP", "BIAS", "SOFTCAP")}
    flags |= {"KP": 4 * some, "BLOCK": vocab_triton.BLOCK}
    kinds = KINDS | dict.fromkeys(("tile_ptr", "bias_ptr", "into_ptr"), tile) | dict.fromkeys(flags, "constexpr")
    for kernel in (vocab_triton._fold, vocab_triton._slope):
        signature = {name: kinds.get(name, "*fp32" if name.endswith("_ptr") else "i32") for name in kernel.arg_names}
        constants = {name: flags[name] for name in kernel.arg_names if name in flags}
        done = triton.compile(ASTSource(kernel, signature, constants), target=GPUTarget("cuda", 90, 32))
        assert "min.NaN." in done.asm["ptx"], "a NaN would be cut to a number"
"""
