"""The rows of the checklist, in the order in which they run: what is quick and what the others need comes first."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Protocol, cast

from benchmarks.smoke.row import Place, Seen


class Module(Protocol):
    """A file of ``checks/``."""

    def check(self, place: Place) -> Seen:
        """What was seen. Raises Failed, Skipped, or whatever else breaks."""


@dataclass(frozen=True)
class Check:
    name: str
    """Of its file in ``checks/``."""
    title: str
    limit: float
    """Seconds after which it has failed. Together they stay below the quarter of an hour that is promised."""

    def load(self) -> Module:
        return cast(Module, import_module(f"benchmarks.smoke.checks.{self.name}"))


CHECKS = (
    Check("versions", "versions, and what torch sees", 30),
    Check("kernels", "Triton kernels against torch: values and gradients", 45),
    Check("kernel_speed", "Triton kernels against torch: time", 60),
    Check("bf16", "bf16, one process, ten steps", 60),
    Check("zero3", "ZeRO-3, ten steps", 180),
    Check("fsdp2", "FSDP2, ten steps", 60),
    Check("vllm_colocate", "vLLM colocated, ten steps", 120),
    Check("vllm_server", "vLLM's server, ten steps", 150),
    Check("overhead", "time of a step against stock TRL", 75),
    Check("memory", "peak memory against plan's estimate", 60),
    Check("resume", "resume: the same steps again", 60),
)


def find(name: str) -> Check:
    """Raises KeyError with the names that there are."""
    for check in CHECKS:
        if check.name == name:
            return check
    raise KeyError(f"no check {name!r}; there are {', '.join(check.name for check in CHECKS)}")
