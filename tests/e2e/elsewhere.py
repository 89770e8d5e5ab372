"""Imports all of the project, and trains. `tests/support/bare.py` runs it as on macOS, without any extra.

elsewhere.py FOLDER
"""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import pkgutil
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import entropostat
from entropostat.__main__ import main

NEEDS = {
    "entropostat.rl.vocab_triton": "triton",
    "entropostat.verl.actor_loss": "tensordict",
    "entropostat.verl.config": "omegaconf",
    "entropostat.verl.driver": "tensordict",
    "entropostat.verl.fields": "tensordict",
    "entropostat.verl.settings": "omegaconf",
    "entropostat.verl.trainer": "transfer_queue",
}
"""Module -> what it cannot be imported without: it runs beside that, and nothing else imports it."""

SHORT = [
    "model.build.steps=2",
    "data.curriculum=[{source: easy, steps: 2}]",
    "trainer.per_device_train_batch_size=32",
    "evaluate={every: 0, prompts: 0, reference: false}",
]
TRAINED = {
    "quickstart/pid-kl.yaml": [],
    "methods/gae.yaml": [],
    "methods/muon.yaml": [],
    "methods/siren.yaml": [],
}
REFUSED = {
    "model.peft": ["train", "model.peft={}"],
    "tracking.trackio": ["train", "tracking.trackio={}"],
    "trainer.use_vllm": ["train", "trainer.use_vllm=true"],
    "launch.strategy": ["launch", "launch={strategy: zero2, num_processes: 2}"],
}


def unimported(package: ModuleType) -> dict[str, str]:
    """Module -> why it cannot be imported."""
    errors: dict[str, str] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        try:
            imported = importlib.import_module(module.name)
        except ModuleNotFoundError as error:
            if error.name is None or error.name != NEEDS.get(module.name):
                errors[module.name] = repr(error)
            continue
        except Exception as error:  # noqa: BLE001  (whatever a module does when it is imported)
            errors[module.name] = repr(error)
            continue
        errors |= unimported(imported) if module.ispkg else {}
    return errors


def run(*words: str) -> tuple[int, str]:
    """Exit code, and the last line of what it says."""
    said = io.StringIO()
    with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
        code = main(list(words))
    return code, (said.getvalue().strip().splitlines() or [""])[-1]


def everything(folder: Path) -> dict[str, Any]:
    recipes = Path(entropostat.__file__).parent / "recipes"
    plain = str(recipes / "quickstart" / "plain.yaml")
    output = f"output_dir={folder}"
    return {
        "unimported": unimported(entropostat),
        "trained": {n: run("train", str(recipes / n), *SHORT, *more, output) for n, more in TRAINED.items()},
        "refused": {key: run(words[0], plain, *words[1:], *SHORT, output) for key, words in REFUSED.items()},
        "foreign": sorted({"deepspeed", "peft", "triton", "vllm", "trackio"} & set(sys.modules)),
    }


if __name__ == "__main__":
    print(json.dumps(everything(Path(sys.argv[1]))))
