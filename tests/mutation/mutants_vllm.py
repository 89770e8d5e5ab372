"""Faults of what only a real engine can see: weights, seeds, temperatures and ends on their way to it."""

from __future__ import annotations

from mutation.mutants import fault

WEIGHTS = ("tests/vllm_engine/test_weights.py",)
SAMPLING = ("tests/vllm_engine/test_sampling.py",)

SENT = (
    fault(
        "sends the critic along", "trainers/head", "without(tap.name, engine._iter_named_params)",
        "engine._iter_named_params", WEIGHTS,
    ),
    fault("scores at one temperature", "trainers/control/scalars", "self._scoring = self.trainer.model.training and",
          "self._scoring = False and", WEIGHTS),
    fault("evaluates what was sent last", "trainers/evaluation/engine", "engine.sync_weights()", "pass", SAMPLING),
)  # fmt: skip
DRAWN = (
    fault("leaves vLLM's seed", "trainers/seams", "        seed_again(self)\n", "", SAMPLING),
    fault("seeds with the rank alone", "trainers/trl/sampling", "trainer.args.seed + trainer.accel", "trainer.accel", SAMPLING),
    fault("warms transformers alone", "trainers/trl/sampling", "if trainer.use_vllm:", "if False:", SAMPLING),
    fault("keeps the temperature", "trainers/trl/sampling", "        setattr(owner, name, value)\n", "        pass\n", SAMPLING),
    fault("tells vLLM no end", "trainers/trl/decoding", '**passed, "stop_token_ids": trainer.eos_token_ids', "**passed", SAMPLING),
    fault("draws the greedy ones", "trainers/evaluation/engine", '{"temperature": 0.0,', '{"temperature": 1.0,', SAMPLING),
)  # fmt: skip
