"""Run the suite on faulty copies of rl/ and trainers/, one forked child per fault: importing torch once is most of the time.

    python tests/mutation/driver.py NAME ...      prints one JSON object per fault: {"name", "exit", "killer"}

Nothing on disk changes: an import hook compiles the faulty text under the module's real name.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import json
import linecache
import os
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from types import CodeType, ModuleType

import hypothesis  # noqa: F401  before the fork
import numpy  # noqa: F401  before the fork
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
from mutation.mutants import CONTROL, CONTROLLERS, MUTANTS, REDUCE, ROOT, Mutant

SKIPPED = "not another_folder and not wrong_value and not more_elements"
"""Tests of the harness and of memory, which no fault of rl/ concerns."""

DIED = 99
"""Exit status of a child that came to no verdict."""

WHOLE = (*CONTROL, *CONTROLLERS, *REDUCE)
"""What must be green without a fault."""


class Loader(importlib.machinery.SourceFileLoader):
    """Compiles the faulty text instead of the file, past any cached bytecode."""

    def __init__(self, name: str, path: str, source: str) -> None:
        super().__init__(name, path)
        self.faulty = source

    def get_code(self, fullname: str) -> CodeType:
        lines = self.faulty.splitlines(keepends=True)
        linecache.cache[self.path] = (len(self.faulty), None, lines, self.path)  # Triton runs what inspect reads
        return compile(self.faulty, self.path, "exec", dont_inherit=True)


class Finder(importlib.abc.MetaPathFinder):
    def __init__(self, mutant: Mutant) -> None:
        self.mutant, self.source = mutant, mutant.source()

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != self.mutant.module:
            return None
        spec = importlib.machinery.PathFinder.find_spec(name, path)
        if spec is not None and spec.origin is not None:
            spec.loader = Loader(name, spec.origin, self.source)
        return spec


def run(mutant: Mutant | None) -> dict[str, object]:
    """Exit status of pytest (1: a test failed, 0: the fault survived) and the first test that failed."""
    with tempfile.TemporaryFile("w+") as out:
        child = os.fork()
        if child == 0:
            status = DIED
            try:
                os.dup2(out.fileno(), 1)
                os.dup2(out.fileno(), 2)
                if mutant is not None:
                    sys.meta_path.insert(0, Finder(mutant))
                options = ["-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-k", SKIPPED, f"--rootdir={ROOT}"]
                for tests in mutant.tests if mutant else WHOLE:  # one after the other: most faults die in the first
                    status = DIED
                    status = int(pytest.main([*options, str(ROOT / tests)]))
                    if status:
                        break
                sys.stdout.flush()
            finally:
                os._exit(status)
        _, code = os.waitpid(child, 0)
        out.seek(0)
        text = out.read()
    match = re.search(r"^(?:FAILED|ERROR) (\S+)", text, re.MULTILINE)
    name = mutant.name if mutant else "no fault"
    killer = match.group(1) if match else text[-2000:] if os.waitstatus_to_exitcode(code) not in (0, 1) else ""
    return {"name": name, "exit": os.waitstatus_to_exitcode(code), "killer": killer}


if __name__ == "__main__":
    torch.set_num_threads(1)
    os.chdir(ROOT)
    if any(MUTANTS[name].folder == "trainers" for name in sys.argv[1:] if name in MUTANTS):
        import transformers  # noqa: F401  before the fork
        import trl  # noqa: F401  before the fork
    for wanted in sys.argv[1:]:
        print(json.dumps(run(None if wanted == "no fault" else MUTANTS[wanted])), flush=True)
