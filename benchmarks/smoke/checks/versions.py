"""Which versions are installed, which GPUs torch sees, and that both are what the project is made for."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from importlib.metadata import PackageNotFoundError, requires, version
from typing import Any

from benchmarks.smoke.row import Failed, Place, Seen, require

NAMES = ("torch", "trl", "transformers", "accelerate", "deepspeed", "triton", "vllm")


def installed() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in NAMES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "none"
    return found


def pins() -> dict[str, Any]:
    """What the installed package asks for, by name; vLLM's pin stands under an extra, and is one all the same."""
    from packaging.requirements import Requirement

    asked = [
        Requirement(re.sub(r"""\s*and extra == ["']\w+["']|;\s*extra == ["']\w+["']""", "", line))
        for line in requires("entropostat") or ()
    ]
    return {one.name: one.specifier for one in asked if one.name in NAMES and one.specifier}


def driver() -> str:
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return ""
    words = [tool, "--query-gpu=driver_version", "--format=csv,noheader"]
    said = subprocess.run(words, capture_output=True, text=True, check=False)
    return said.stdout.splitlines()[0].strip() if said.returncode == 0 and said.stdout.strip() else ""


def check(place: Place) -> Seen:
    import torch

    found, gpus = installed(), []
    for i in range(torch.cuda.device_count() if place.device == "cuda" else 0):
        properties = torch.cuda.get_device_properties(i)
        gpus.append(f"{properties.name} ({properties.total_memory / 2**30:.0f} GiB)")
    facts: dict[str, Any] = {"versions": found, "gpus": gpus, "cores": len(os.sched_getaffinity(0))}
    facts |= {"cuda": str(torch.version.cuda or ""), "driver": driver() if gpus else ""}
    try:
        judge(found, len(gpus), place)
        if gpus:  # one product: a build of torch without kernels for this card sees it all the same
            x = torch.ones(64, 64, device="cuda", dtype=torch.bfloat16)
            require(float((x @ x).sum()) == 64.0**3, "a product of ones in bf16 on the GPU is wrong", **facts)
    except Failed as why:
        why.numbers = facts  # the head of the record is made of them
        raise
    return Seen(f"{len(gpus)} GPU(s), every version is one that the project takes", facts)


def judge(found: dict[str, str], seen: int, place: Place) -> None:
    for name, allowed in pins().items():
        if found[name] != "none":
            require(
                allowed.contains(found[name].partition("+")[0], prereleases=True),
                f"{name} {found[name]} is installed, and wanted is {allowed}",
            )
    require(
        seen == place.gpus,
        f"torch sees {seen} of {place.gpus} GPUs: its build is for CPUs, or the driver is too old for it",
    )
