"""Exact counts of one trainer's work: ATen ops, forwards, LM-head projections, generate calls, collectives, bytes.

Everything is counted below the trainers, by a dispatch mode, so that neither side can hide work. Counting starts and
ends at the beginning of an optimizer step, over whole generation cycles, after a warm-up cycle has allocated the
optimizer's state.
"""

from __future__ import annotations

import functools
import gc
import weakref
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter
from transformers import TrainerCallback
from trl import GRPOTrainer

MATMULS = ("mm", "addmm", "bmm", "baddbmm", "matmul", "linear", "addmm_")
PHASES = ("rollout", "tap", "loss", "backward and optimizer")


class Meter(TorchDispatchMode):
    """Counts what passes the dispatcher, by phase, and follows the bytes of every storage that is alive."""

    def __init__(self, heads: Iterable[Tensor]) -> None:
        super().__init__()
        self.heads = {head.untyped_storage().data_ptr() for head in heads}
        self.phase = PHASES[-1]
        self.ops: Counter[str] = Counter()
        self.names: dict[str, Counter[str]] = {phase: Counter() for phase in PHASES}
        self.collectives: Counter[str] = Counter()
        self.projections = 0
        self.peak = self.alive = 0
        self.after_loss = 0
        self._storages: dict[int, Any] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        namespace, name = func.namespace, func.overloadpacket.__name__
        if namespace == "c10d":
            self.collectives[self.phase] += 1
        else:
            self.ops[self.phase] += 1
            self.names[self.phase][name] += 1
            if name in MATMULS and any(self._is_head(value) for value in args):
                self.projections += 1
        for value in tree_iter(out):
            if isinstance(value, Tensor):
                self.follow(value)
        return out

    def _is_head(self, value: Any) -> bool:
        return isinstance(value, Tensor) and value.untyped_storage().data_ptr() in self.heads

    def follow(self, tensor: Tensor) -> None:
        """Count the storage of ``tensor`` until it is freed. A storage outlives its tensors in a saved graph."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key in self._storages:
            return
        size = storage.nbytes()
        self._storages[key] = weakref.finalize(storage, self._freed, key, size)
        self._storages[key].atexit = False
        self.alive += size
        self.peak = max(self.peak, self.alive)

    def _freed(self, key: int, size: int) -> None:
        self._storages.pop(key, None)
        self.alive -= size


def count(trainer: GRPOTrainer, cycle: int) -> dict[str, Any]:
    """Train for a warm-up cycle and a counted one; the counts, per optimizer step. Needs ``max_steps`` > 2 cycles."""
    models = [trainer.accelerator.unwrap_model(m) for m in (trainer.model, trainer.ref_model) if m is not None]
    meter = Meter(model.get_output_embeddings().weight for model in models)
    calls: Counter[str] = Counter()
    watch = _Watch(trainer, meter, calls, cycle)
    trainer.add_callback(watch)
    for method, phase in (
        ("_generate_and_score_completions", "rollout"),
        ("_compute_loss", "loss"),
        ("_tap", "tap"),
    ):
        if hasattr(trainer, method):
            setattr(trainer, method, _in_phase(getattr(trainer, method), phase, meter))
    for model in models:
        model.register_forward_pre_hook(_forward_counter(calls, watch), with_kwargs=True)
    policy = models[0]
    policy.generate = _counted(policy.generate, "generate", calls, watch)
    trainer.train()
    if watch.on or not watch.done:
        raise RuntimeError(f"the run of {trainer.args.max_steps} steps ended before the counted cycle did")
    per_step = lambda value: value / cycle
    return {
        "aten ops": per_step(meter.ops.total()),
        "aten ops by phase": {phase: per_step(meter.ops[phase]) for phase in PHASES},
        "model forwards": per_step(calls["forward"]),
        "scoring and training forwards": per_step(calls["scored"]),
        "lm-head projections": per_step(meter.projections),
        "generate calls": per_step(calls["generate"]),
        "collectives": per_step(meter.collectives.total()),
        "collectives by phase": {phase: per_step(meter.collectives[phase]) for phase in PHASES},
        "peak bytes": meter.peak,
        "bytes after the loss": meter.after_loss,
        "ops by name": {phase: dict(meter.names[phase].most_common()) for phase in PHASES},
    }


class _Watch(TrainerCallback):
    """Switches the meter on at the first step after the warm-up cycle and off a cycle later."""

    def __init__(self, trainer: GRPOTrainer, meter: Meter, calls: Counter[str], cycle: int) -> None:
        self.trainer, self.meter, self.calls, self.cycle = trainer, meter, calls, cycle
        self.on = self.done = False

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == self.cycle and not self.on:
            gc.collect()
            for model in (self.trainer.model, self.trainer.ref_model):
                self._follow_all([*model.parameters(), *model.buffers()])
            self._follow_all(v for state in self.trainer.optimizer.state.values() for v in state.values())
            self._follow_all(v for part in self.trainer._buffered_inputs or () for v in part.values())
            self.on = True
            self.meter.__enter__()
        elif state.global_step == 2 * self.cycle and self.on:
            self.meter.__exit__(None, None, None)
            self.on, self.done = False, True

    def _follow_all(self, values: Iterable[Any]) -> None:
        for value in values:
            if isinstance(value, Tensor):
                self.meter.follow(value)


def _in_phase(method: Callable[..., Any], phase: str, meter: Meter) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        before, meter.phase = meter.phase, phase
        try:
            return method(*args, **kwargs)
        finally:
            meter.phase = before
            if phase == "loss":
                meter.after_loss = max(meter.after_loss, meter.alive)

    return run


def _counted(method: Callable[..., Any], name: str, calls: Counter[str], watch: _Watch) -> Callable[..., Any]:
    @functools.wraps(method)
    def run(*args: Any, **kwargs: Any) -> Any:
        calls[name] += watch.on
        return method(*args, **kwargs)

    return run


def _forward_counter(calls: Counter[str], watch: _Watch) -> Callable[..., None]:
    def note(module: Any, args: Any, kwargs: dict[str, Any]) -> None:
        calls["forward"] += watch.on
        calls["scored"] += watch.on and bool(kwargs.get("fused_lm_head"))

    return note
