"""The non-finite guard: an optimizer step whose loss or gradient is not a number is not made, on any rank.

Ranks agree without a collective of their own. A loss that is not finite is multiplied by NaN, and with it every gradient of
that rank; the reduction of gradients, which there is anyway, carries this to all ranks, and the norm of the gradient gives
each the same verdict. So a fault in the loss alone (an infinite constant has a finite gradient) takes the way of a fault in
the gradient. DeepSpeed's engine steps inside the backward pass and leaves out a step by the same norm; elsewhere the gradients
are dropped before the optimizer's step, which then finds nothing to do: weights, moments and weight decay stay bit for bit.

A step of finite numbers costs four operators a micro-batch and no synchronisation. What was at fault is looked up afterwards.
"""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any

from accelerate.utils import gather_object
from torch import Tensor, nn

from entropostat.faults import RunFault
from entropostat.recipe.blocks import Faults
from entropostat.trainers.state.memory import Remembering
from entropostat.trainers.trl.loss_pass import LossPass
from entropostat.trainers.watch.suspects import GRADIENT, Finding, Seen, first, write_dump

log = logging.getLogger(__name__)

DUMPS = 2
"""Steps of a run whose inputs are written, besides the one that stops it."""


class NonFiniteGuard(Remembering):
    """Counts the steps that were skipped because of a number that is none, and says which part was at fault.

    It stops the run when ``max_nonfinite`` of its steps were skipped, however far apart: raises RunFault on every rank, before
    the next step and after the row of the last one is logged. The count goes with the checkpoint.

    With float16 the scale of the loss is searched by overflows. Those of a finite loss belong to the search: the scaler (or
    DeepSpeed's) skips them, and nothing is counted.
    """

    def __init__(self, trainer: Any, settings: Faults) -> None:
        self.trainer, self.settings = trainer, settings
        self.count = 0
        self.verdict = ""
        """Why the run must stop."""
        self._seen: list[Seen] = []
        """The micro-batches of the window."""
        self._bad = False

    def watch(self, loss: Tensor, inputs: dict[str, Any], passed: LossPass) -> Tensor:
        """Keep what a micro-batch consists of until its step is made. The loss, times NaN if it is not finite."""
        self._seen.append(Seen.of(inputs, passed))
        one = loss.detach() * 0 + 1
        return loss * one

    def judge(self, model: nn.Module, norm: float) -> None:
        """After the reduction of gradients, before the optimizer's step. ``norm`` is the same on every rank."""
        accelerator, optimizer = self.trainer.accelerator, self.trainer.optimizer
        self._bad = not math.isfinite(norm)
        if self.trainer.is_deepspeed_enabled:
            self._bad = accelerator.optimizer_step_was_skipped
        elif accelerator.scaler is None:
            # What accelerate sets where a scaler skips: the schedule waits, and so does whoever else asks.
            optimizer._is_overflow = self._bad
            if self._bad:
                model.zero_grad(set_to_none=True)

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        seen, self._seen = self._seen, []
        if self._bad:
            self._tell(state.global_step, seen)
        self.trainer._metrics["train"]["health/nonfinite"].append(float(self.count))

    def _tell(self, step: int, seen: list[Seen]) -> None:
        """The same on every rank, but that the rank at fault writes its inputs."""
        accelerator, most = self.trainer.accelerator, self.settings.max_nonfinite
        finding = first(seen, accelerator.process_index)
        finding = min(gather_object([finding]) if accelerator.num_processes > 1 else [finding])
        if finding.term == GRADIENT and accelerator.mixed_precision == "fp16":
            return
        self.count += 1
        last = most is not None and self.count >= most
        where = ""
        if self.count <= DUMPS or last:
            file = Path(self.trainer.args.output_dir) / "nonfinite" / f"step-{step:06d}-rank{finding.rank}.safetensors"
            if finding.rank == accelerator.process_index:
                self._dump(file, step, finding, seen)
            where = f"; its inputs: {file}"
        what = f"step {step}: {finding}"
        if last:
            often = "1 step was" if self.count == 1 else f"{self.count} steps were"
            self.verdict = f"{what}{where}. {often} not finite, and faults.max_nonfinite is {most}"
        elif accelerator.is_main_process:
            log.warning("%s; the step is skipped (%d of %s)%s", what, self.count, most or "any number", where)

    def _dump(self, file: Path, step: int, finding: Finding, seen: list[Seen]) -> None:
        facts = {"step": step, "rank": finding.rank, "micro_batch": finding.micro_batch, "term": finding.term}
        facts |= {"generation": seen[0].generation, "seed": self.trainer.args.seed, "skipped": self.count}
        try:
            write_dump(file, facts, seen if finding.term == GRADIENT else [seen[finding.micro_batch]])
        except OSError as error:  # a record of a fault is not worth the run
            log.warning("%s could not be written: %s", file, error)

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.verdict:
            raise RunFault(self.verdict)

    def on_train_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self.verdict:
            raise RunFault(self.verdict)

    # ------------------------------------------------------------------------------------------ checkpoints

    def kept(self) -> dict[str, Any]:
        return {"count": self.count}

    def restore(self, kept: dict[str, Any], checkpoint: Path | None) -> None:
        self.count = kept.get("count", 0)
