"""Lets verl's own FSDP engine, its Ray workers and its trainers run on CPUs, by gloo. verl takes it for a plug-in of hardware.

To be imported wherever verl is: VERL_USE_EXTERNAL_MODULES=in_verl.cpu_platform and what ``ENVIRONMENT`` says.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any

import torch
from verl.plugin.platform.platform_base import PlatformBase
from verl.plugin.platform.platform_manager import PlatformRegistry

ENVIRONMENT = {"VERL_PLATFORM": "cpu", "VERL_ENGINE_DEVICE": "cuda", "OMP_NUM_THREADS": "1"}
"""The second: verl names its FSDP engine for the devices that it has been tried on; it is the same one."""
NOTHING = (
    *(
        "synchronize",
        "empty_cache",
        "manual_seed",
        "manual_seed_all",
        "reset_peak_memory_stats",
        "ipc_collect",
        "set_device",
    ),
)
ZERO = ("max_memory_allocated", "max_memory_reserved", "memory_allocated", "memory_reserved")


def _device_module() -> Any:
    module = types.SimpleNamespace(
        current_device=lambda: "cpu",
        device_count=lambda: 1,
        is_available=lambda: True,
        get_device_name=lambda *a: "cpu",
        mem_get_info=lambda *a: (0, 0),
        get_rng_state=torch.get_rng_state,
        set_rng_state=torch.set_rng_state,
    )
    for name in NOTHING:
        setattr(module, name, lambda *a, **k: None)
    for name in ZERO:
        setattr(module, name, lambda *a, **k: 0)
    return module


@PlatformRegistry.register(platform="cpu")
class CPU(PlatformBase):
    device_name = "cpu"
    vendor_name = "cpu"
    device_module = _device_module()

    def is_available(self) -> bool:
        return True

    def is_platform_available(self, use_smi_check: bool = False) -> bool:
        return True

    def current_device(self) -> str:
        return "cpu"

    def device_count(self) -> int:
        return 1

    def get_device_capability(self, device_index: int = 0) -> tuple[None, None]:
        return (None, None)

    def communication_backend_name(self) -> str:
        return "gloo"

    def visible_devices_envvar(self) -> str:
        return "CUDA_VISIBLE_DEVICES"

    def nvtx_range(self, msg: str) -> Any:
        return contextlib.nullcontext()

    def ray_resource_name(self) -> str:
        return "NPU"  # verl counts GPUs and NPUs alone; Ray is told of as many as are wanted

    def ray_noset_envvars(self) -> list[str]:
        return []

    def is_ipc_supported(self) -> bool:
        return False

    def cudart(self) -> None:
        return None

    def set_device(self, *a: Any, **k: Any) -> None:
        """Likewise those below: nothing to do."""

    synchronize = manual_seed = manual_seed_all = set_allocator_settings = empty_cache = set_device
    profiler_start = profiler_stop = set_device


CPU.__abstractmethods__ = frozenset()


def one_backend() -> None:
    """verl names gloo for the CPU beside what its device has: here that is the same device twice, which torch refuses."""
    init = torch.distributed.init_process_group

    def init_process_group(backend: Any = None, *args: Any, **options: Any) -> None:
        init("gloo" if backend == "cpu:gloo,cpu:gloo" else backend, *args, **options)

    torch.distributed.init_process_group = init_process_group


one_backend()
torch.Tensor.pin_memory = lambda self, *a, **k: (
    self
)  # for a reference, which verl keeps on the CPU: there is nothing to pin for
