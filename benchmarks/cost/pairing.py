"""Step times of several trainers, each in its own real training loop, taking turns step by step in one process.

Every loop runs in a thread of its own and stands still at the start of each optimizer step until it is given the turn;
so only one computes at a time, and processor time is its own, whatever else the machine does. All of them replay the same
recorded generation.
"""

from __future__ import annotations

import random
import statistics
import threading
import time
from collections.abc import Callable, Mapping
from functools import reduce
from typing import Any

import torch
from transformers import TrainerCallback
from trl import GRPOTrainer

from entropostat.trainers.trl.buffer import KEY

NEVER = 10**9
PATIENCE = 300.0
"""Seconds after which a loop that does not hand back its turn counts as dead."""


class Turns(TrainerCallback):
    """One training loop that advances only when ``step`` is called."""

    def __init__(self, trainer: GRPOTrainer, watch: Stopwatch | None = None) -> None:
        self.trainer, self.watch = trainer, watch
        self._mine, self._theirs = threading.Semaphore(0), threading.Semaphore(0)
        self._error: BaseException | None = None
        self._stop = False
        trainer.add_callback(self)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self._wait()  # until it stands at its first step

    def _run(self) -> None:
        torch.set_num_threads(1)
        try:
            self.trainer.train()
        except BaseException as error:  # noqa: BLE001 - raised again in the thread that waits
            self._error = error
        finally:
            self._theirs.release()

    def _wait(self) -> None:
        if not self._theirs.acquire(timeout=PATIENCE):
            raise TimeoutError(f"a training step took more than {PATIENCE:.0f} s")
        if self._error is not None:
            raise RuntimeError("a training loop under measurement failed") from self._error

    def on_step_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> Any:
        if hasattr(self.trainer, "generations"):  # of which one in so many is monitored; a replay makes no new one
            cycle = max(args.steps_per_generation // args.gradient_accumulation_steps, 1)
            self.trainer.generations = 1 + state.global_step // cycle
        self._theirs.release()
        self._mine.acquire()
        control.should_training_stop = self._stop
        return control

    def step(self) -> float:
        """Seconds from the start of one optimizer step to the start of the next, logging included: of processor time, which other
        processes do not change, or of wall time where a GPU works meanwhile."""
        cuda = self.trainer.args.device.type == "cuda"
        clock = time.perf_counter if cuda else time.process_time
        before = clock()
        self._mine.release()
        self._wait()
        if cuda:
            torch.cuda.synchronize()
        seconds = clock() - before
        if self.watch is not None:
            self.watch.lap()
        return seconds

    def close(self) -> None:
        """One last step, and the loop ends."""
        self._stop = True
        self._mine.release()
        self._thread.join(PATIENCE)


def record(trainer: GRPOTrainer) -> list[dict[str, Any]]:
    """The buffered slices of one real generation, as ``trainer`` left them after training on it."""
    trainer.train()
    return [dict(part) for part in trainer._buffered_inputs]


def replay(trainer: GRPOTrainer, slices: list[dict[str, Any]], ours: bool) -> None:
    """Make ``trainer`` train on ``slices`` for ever. A stock trainer gets them without the keys that are ours."""
    trainer._buffered_inputs = [
        {key: value for key, value in part.items() if ours or not key.startswith(KEY)} for part in slices
    ]
    trainer._step = trainer.args.steps_per_generation
    trainer.num_iterations = NEVER  # a generation is due every steps_per_generation * num_iterations micro-batches


def alternate(
    loops: Mapping[str, Turns], rounds: int, warm_up: int, seed: int, note: Callable[[dict[str, list[float]]], None]
) -> dict[str, list[float]]:
    """Step times by name, one step of each loop a round in random order. ``note`` gets them every 20 rounds."""
    order = random.Random(seed)
    times: dict[str, list[float]] = {name: [] for name in loops}
    for index in range(warm_up + rounds):
        for name in order.sample(list(loops), len(loops)):
            seconds = loops[name].step()
            if index >= warm_up:
                times[name].append(seconds)
        if index >= warm_up and (index - warm_up) % 20 == 19:
            note(times)
    return times


def ratio(times: list[float], base: list[float], resamples: int = 2000, seed: int = 0) -> dict[str, float]:
    """Median of the paired ratios with its percentile bootstrap 95 % interval."""
    ratios = [a / b for a, b in zip(times, base, strict=True)]
    draw = random.Random(seed)
    medians = sorted(statistics.median(draw.choices(ratios, k=len(ratios))) for _ in range(resamples))
    low, high = medians[round(0.025 * resamples)], medians[round(0.975 * resamples) - 1]
    return {"pairs": len(ratios), "median": statistics.median(ratios), "low": low, "high": high}


class Stopwatch:
    """Seconds of processor time in methods of a trainer and of its parts, per optimizer step."""

    def __init__(self, trainer: GRPOTrainer, *methods: str) -> None:
        self._now = 0.0
        self.seconds: list[float] = []
        for method in methods:
            *owners, name = method.split(".")
            owner = reduce(getattr, owners, trainer)
            setattr(owner, name, self._timed(getattr(owner, name)))

    def _timed(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def run(*args: Any, **kwargs: Any) -> Any:
            before = time.process_time()
            try:
                return method(*args, **kwargs)
            finally:
                self._now += time.process_time() - before

        return run

    def lap(self) -> None:
        self.seconds.append(self._now)
        self._now = 0.0
