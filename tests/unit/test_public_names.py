"""What `entropostat` itself offers: five names that cost nothing until they are used."""

from __future__ import annotations

import subprocess
import sys

import pytest

import entropostat
from entropostat.client.loss import ClientLoss
from entropostat.rl.objective import Objective
from entropostat.trainers.grpo import EntropyGRPOTrainer
from entropostat.trainers.ppo import EntropyPPOTrainer
from entropostat.trainers.watch.doctor import Doctor

HOMES = {cls.__name__: cls for cls in (ClientLoss, Doctor, EntropyGRPOTrainer, EntropyPPOTrainer, Objective)}
SLOW = ("torch", "trl", "transformers", "numpy", "pydantic")


def test_the_names_are_the_classes_of_their_homes() -> None:
    assert {name: getattr(entropostat, name) for name in entropostat.__all__} == HOMES


def test_dir_names_what_was_not_imported_yet() -> None:
    code = "import entropostat; print(*dir(entropostat))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert {*HOMES, "__version__"} <= {*done.stdout.split()}


@pytest.mark.parametrize("statement", ["import entropostat", "import entropostat.__main__"])
def test_importing_the_package_imports_nothing_slow(statement: str) -> None:
    code = f"import sys; {statement}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    assert not {*SLOW} & {*done.stdout.split()}


def test_a_name_that_is_not_there_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'EntropyTrainer'"):
        entropostat.EntropyTrainer  # noqa: B018
    with pytest.raises(ImportError, match="EntropyTrainer"):
        from entropostat import EntropyTrainer  # noqa: F401
