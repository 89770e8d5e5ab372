"""The page for loops that are not TRL's: its code runs as it stands, its TOML names a loss, its refusals are the true ones."""

from __future__ import annotations

import re
import runpy
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from unit.test_client_prime_rl import inputs_of
from unit.test_client_tinker import datums, float32, own_datum, stand_in

PAGE = (Path(__file__).parents[2] / "docs" / "own-loop.md").read_text()
LOOP, TINKER, REFUSED = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)


def run(folder: Path, code: str, **names: Any) -> dict[str, Any]:
    file = folder / "own_loop.py"
    file.write_text(code)
    return runpy.run_path(str(file), init_globals=names)


def test_the_plain_loop_holds_its_entropy(tmp_path: Path) -> None:
    left = run(tmp_path, LOOP)
    assert left["told"]["signal/entropy"] == pytest.approx(1.0, abs=0.25), left["told"]
    assert left["rewards"].mean() > 0.5 and left["loss"].done == 300


def test_the_loop_of_tinker_runs_and_moves_its_controller(tmp_path: Path) -> None:
    given = float32(3)
    sent = []

    def forward_backward_custom(data: Any, loss: Any) -> Any:
        sent.append(stand_in(data, given.logprobs, loss))
        return SimpleNamespace(result=lambda: None)

    client = SimpleNamespace(
        forward_backward_custom=forward_backward_custom, optim_step=lambda _: SimpleNamespace(result=lambda: None)
    )
    data = datums(given, own_datum)
    left = run(
        tmp_path,
        TINKER,
        training_client=client,
        batches=[data, data],
        types=SimpleNamespace(AdamParams=SimpleNamespace),
    )
    assert len(sent) == 2 and any(weight.any() for weight in sent[0][0])
    assert left["told"]["control/penalties.kl_cov.coef/output"] != 0.2 and left["loss"].loss.done == 2


def test_the_block_of_prime_rl_names_a_loss_and_its_arguments() -> None:
    toml = pytest.importorskip("tomllib", reason="Python 3.10 reads no TOML")
    block = toml.loads(re.findall(r"```toml\n(.*?)```", PAGE, re.DOTALL)[0])["trainer"]["loss"]
    module, _, name = block["import_path"].rpartition(".")
    out = getattr(import_module(module), name)(inputs_of(3)[0], **block["kwargs"])
    out.loss.backward()
    assert block["type"] == "custom" and "kl_cov/fraction" in out.metrics


def test_the_refusals_are_those_that_the_page_shows(tmp_path: Path) -> None:
    shown = re.findall(r"```\n(objective\..*?)```", PAGE, re.DOTALL)
    assert [run(tmp_path, REFUSED)["refused"] + "\n"] == shown
