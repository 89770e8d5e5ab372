"""verl's own command with Ray, its TransferQueue, its agent loop and its reward loop: ten steps of our trainer, and two more from a
checkpoint. The policy is tiny, and its rollout needs no accelerator."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from in_verl.command import overrides, prepared, run

pytestmark = pytest.mark.slow  # a dozen processes that import torch and verl each: minutes on a machine of its own

PID = "{pid: {signal: entropy, target: 3.5, effect: raises, kp: 0.5, ki: 0.1, high: 1.0}}"
OBJECTIVE = (
    "{advantages: [grpo], loss: {trl: {epsilon_high: 0.28}}, weights: [{clip_cov: {fraction: 0.05, low: -9, high: 9}}], "
    f"penalties: [{{kl_cov: {{fraction: 0.1}}}}, {{entropy_bonus: {{coef: {PID}}}}}]}}"
)
COEF = "entropostat/control/penalties.entropy_bonus.coef/output"


def rows(folder: Path) -> list[dict[str, Any]]:
    read = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return [row["data"] | {"step": row["step"]} for row in read]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = prepared(tmp_path_factory.mktemp("command"))
    done = run(folder, overrides(folder, OBJECTIVE, steps=10, **{"trainer.save_freq": 5}))
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    return folder


def test_ten_steps_of_verls_trainer_and_the_controller_moves(trained: Path) -> None:
    told = rows(trained)
    assert [row["step"] for row in told] == list(range(1, 11))
    assert len({row[COEF] for row in told}) == 10
    for row in told:
        assert math.isfinite(row["actor/grad_norm"]) and row["actor/grad_norm"] > 0
        assert 0 < row["entropostat/signal/entropy"] < math.log(30)
        assert row["entropostat/clip_cov/fraction"] > 0
        assert row["entropostat/signal/kl_old"] == pytest.approx(0, abs=1e-6), "the log-probs of one policy differ"
    assert not [key for key in told[0] if key.startswith("actor/entropostat")]


def test_a_checkpoint_holds_the_controllers_and_a_run_goes_on_from_it(trained: Path) -> None:
    checkpoints = trained / "checkpoints"
    middle, last = (json.loads((checkpoints / f"global_step_{n}" / "entropostat.json").read_text()) for n in (5, 10))
    assert (middle["updates"], last["updates"]) == (5, 10)
    (trained / "metrics.jsonl").unlink()
    done = run(trained, overrides(trained, OBJECTIVE, steps=12, **{"trainer.save_freq": 12}))
    assert done.returncode == 0, (done.stdout + done.stderr)[-5000:]
    told = rows(trained)
    assert [row["step"] for row in told] == [11, 12]
    after = json.loads((checkpoints / "global_step_12" / "entropostat.json").read_text())
    assert after["updates"] == after["generations"] == 12
    loop = last["thermostat"]["control"]["penalties.entropy_bonus.coef"]
    assert told[0][COEF] == pytest.approx(loop["output"], abs=0.1), "the loop began anew"
