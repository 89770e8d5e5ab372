"""A critic over two processes learns what one learns, and DeepSpeed's engines train and restore it as DDP does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from support import ranks
from support.run_files import step_rows

WORKER = Path(__file__).with_name("critic.py")
LIMITS = {"float64": 1e-10, "float32": 1e-6}


@pytest.mark.parametrize("dtype", ["float64", pytest.param("float32", marks=pytest.mark.slow)])
def test_processes_and_micro_batches_do_not_change_the_result(tmp_path: Path, dtype: str) -> None:
    one = ranks.replayed(WORKER, tmp_path, dtype, world=1, rows=8, accumulation=1)
    others = [ranks.replayed(WORKER, tmp_path, dtype, 2, 4, 1), ranks.replayed(WORKER, tmp_path, dtype, 1, 4, 2)]
    limit, checked = LIMITS[dtype], 0
    for other in others:
        for name, wanted in one.items():
            split = other[name]
            assert wanted["grads"][0].norm() > 1e-3
            assert abs(split["losses"][0] - wanted["losses"][0]) <= limit, name
            assert (split["grads"][0] - wanted["grads"][0]).norm() <= limit * wanted["grads"][0].norm(), name
            assert (split["params"] - wanted["params"]).norm() <= limit * wanted["params"].norm(), name
            for key in ("critic/value", "critic/return", "critic/explained_variance"):
                assert split["judged"][key] == pytest.approx(wanted["judged"][key], rel=1e-5), (name, key)
            checked += 1
    assert checked == 10


ENGINE_FILES = {
    "zero2": ["mp_rank_00_model_states.pt"],
    "zero3": [f"zero_pp_rank_{rank}_mp_rank_00_model_states.pt" for rank in (0, 1)],
}
"""What an engine of that stage writes: whole weights, or the shares of two ranks."""
SHORT = [
    "model.build.steps=5",
    "data.curriculum=[{source: easy, steps: 8}]",
    "trainer={kind: ppo, num_generations: 1, per_device_train_batch_size: 8, save_strategy: steps, save_steps: 4}",
    "objective.advantages=[gae: {kl_coef: 0.1}]",
    "objective.penalties.+entropy_bonus.coef=-1",  # moves the policy whatever the answers
    "critic={heads: 2, hidden: true, detach: false, learning_rate: 1.0e-2, init: 0.3}",
    "evaluate={every: 0, prompts: 2, samples: 2, k: [1], reference: true}",
]


def launch(folder: Path, strategy: str, *more: str, name: str | None = None) -> Path:
    out = folder / (name or strategy)
    options = [f"launch={{strategy: {strategy}, num_processes: 2}}", *SHORT, f"output_dir={out}"]
    words = ["launch", "entropostat:quickstart/plain.yaml", *options, *more]
    ranks.entropostat(*words, XDG_CACHE_HOME=folder / "cache")
    ranks.trained_by(out / "quickstart-plain", strategy, world=2)
    return out / "quickstart-plain"


def apart(a: Path, b: Path) -> float:
    x, y = load_file(a), load_file(b)
    assert x.keys() == y.keys() and x
    return max(float((x[name].float() - y[name].float()).abs().max()) for name in x)


@pytest.mark.slow
@pytest.mark.parametrize("trunk", ["shared", "separate"])
def test_zero_trains_the_critic_that_ddp_trains(tmp_path: Path, trunk: str) -> None:
    more = f"critic.trunk={trunk}"
    ddp = launch(tmp_path, "ddp", more)
    wanted = step_rows(ddp)
    assert wanted[-1]["critic/loss"] > 0
    start = apart(ddp / "checkpoint-4" / "critic.safetensors", ddp / "checkpoint-8" / "critic.safetensors")
    for strategy in ("zero2", "zero3"):
        run = launch(tmp_path, strategy, more)
        states = sorted(path.name for path in (run / "checkpoint-8" / "global_step8").glob("*model_states.pt"))
        assert states == ENGINE_FILES[strategy]
        assert not any("critic" in name for name in load_file(run / "checkpoint-8" / "model.safetensors"))
        for logged, row in zip(step_rows(run), wanted, strict=True):
            keys = {"loss", "critic/loss", "critic/value", "critic/return", "entropy"} & row.keys()
            assert {key: logged[key] for key in keys} == pytest.approx(
                {key: row[key] for key in keys}, rel=5e-3, abs=1e-4
            )
        distance = apart(run / "checkpoint-8" / "critic.safetensors", ddp / "checkpoint-8" / "critic.safetensors")
        assert distance < start / 10
        # Resumed, the engine's own checkpoint holds the critic.
        kept = load_file(run / "checkpoint-8" / "critic.safetensors")
        launch(tmp_path, strategy, more, "--resume", str(run / "checkpoint-4"))
        again = load_file(run / "checkpoint-8" / "critic.safetensors")
        assert all(torch.allclose(again[n], kept[n], atol=1e-6) for n in kept)
