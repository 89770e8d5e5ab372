"""A weight that takes turns over the passes of a generation is told which of them a micro-batch belongs to."""

from __future__ import annotations

import pytest
import torch
from support import tiny

from entropostat.trainers.trl import batches


@pytest.fixture(scope="module")
def path() -> str:
    return tiny.saved()


def spec(**options):
    return tiny.objective(weights=[{"lopti": {"threshold": 0.04, **options}}])


@pytest.mark.parametrize("accumulation", [1, 2])
def test_each_pass_over_a_generation_has_its_number_and_together_they_train_every_token_once(
    path, monkeypatch, accumulation
):
    trainer = tiny.ours(
        path, spec(), num_iterations=2, gradient_accumulation_steps=accumulation, max_steps=8 // accumulation
    )
    seen, told = [], batches.of_micro_batch

    def of_micro_batch(*args, **kwargs):
        batch = told(*args, **kwargs)
        if trainer.model.training:
            seen.append((batch.generation, batch.iteration, batch.uids.tolist()))
        return batch

    monkeypatch.setattr(batches, "of_micro_batch", of_micro_batch)
    trained, weigh = {}, type(trainer.objective).weight

    def weight(self, batch, *args, **kwargs):
        found = weigh(self, batch, *args, **kwargs)
        for uid, row, mask in zip(batch.uids.tolist(), found[0], batch.mask, strict=True):
            key = (batch.generation, uid)
            trained[key] = trained.get(key, 0) + row
            assert (trained[key] <= mask).all()
            masks[key] = mask
        return found

    masks: dict = {}
    monkeypatch.setattr(type(trainer.objective), "weight", weight)
    trainer.train()
    assert [(generation, iteration) for generation, iteration, _ in seen] == [
        (g, i) for g in (1, 2) for i in (0, 1) for _ in range(2)
    ]
    assert seen[0][2] == seen[2][2] != seen[1][2]
    assert all(torch.equal(trained[key], masks[key].to(trained[key].dtype)) for key in trained) and len(trained) == 16
    low = [log["lopti/low"] for log in trainer.state.log_history if "lopti/low" in log]
    assert all(0 < share < 1 for share in low)


def test_a_number_of_passes_that_leaves_a_turn_out_is_refused(path):
    for passes, options in ((1, {}), (3, {"order": "high_first"})):
        with pytest.raises(
            ValueError, match=rf"objective.weights.lopti: takes turns over 2 passes .* num_iterations is {passes}"
        ):
            tiny.ours(path, spec(**options), num_iterations=passes)
    tiny.ours(path, spec(order="high"), num_iterations=1)
