"""A checklist for GPUs: versions, bf16, ZeRO-3, FSDP2, vLLM, Triton kernels, overhead, memory, resume, in fifteen minutes.

    python -m benchmarks.smoke [--device cpu] [--only NAME ...] [--out FILE]

Uses all GPUs that it sees, and nothing of the Hub. Prints a table in Markdown to paste, and writes it with all numbers to
smoke.json. Every check runs in a process of its own, for so long at most; one that fails does not stop the others.
Exit code: 0 no check failed, 1 one did, 2 nothing of a GPU was checked: there is none, or every row was skipped.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.smoke.checklist import CHECKS, Check
from benchmarks.smoke.record import exit_code, record, table
from benchmarks.smoke.row import Row
from benchmarks.smoke.runner import run
from entropostat.recipe.arithmetic import visible_gpus

NO_GPU = "no GPU: nvidia-smi lists none, or CUDA_VISIBLE_DEVICES hides them"


def rows(checks: tuple[Check, ...], device: str, gpus: int) -> Iterator[Row]:
    """As they come. Without a GPU only `versions` is made, which needs none."""
    for check in checks:
        if device == "cuda" and not gpus and check.name != "versions":
            yield Row(check.name, check.title, "skipped", NO_GPU)
        else:
            yield run(check, device, gpus)


def checklist(checks: tuple[Check, ...], device: str, gpus: int, out: Path) -> dict[str, Any]:
    """The record, which is on disk after every row."""
    made: dict[str, Any] = {}
    done: list[Row] = []
    for row in rows(checks, device, gpus):
        done.append(row)
        facts = next((one.numbers for one in done if one.name == "versions"), {})
        made = record(device, done, facts)
        out.write_text(json.dumps(made, indent=1) + "\n")
        print(f"{row.status:8} {row.seconds:4.0f} s  {row.title}: {row.seen}", file=sys.stderr, flush=True)
    return made


def main(words: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.smoke", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--device", choices=("cuda", "cpu"), default="cuda", help="cpu: the same code, small, over gloo"
    )
    names = [check.name for check in CHECKS]
    parser.add_argument("--only", nargs="+", choices=names, default=names, metavar="NAME", help=", ".join(names))
    parser.add_argument("--out", type=Path, default=Path("smoke.json"), help="the record (default smoke.json)")
    parser.add_argument("--patience", type=float, default=1.0, metavar="N", help="wait N times as long for each row")
    options = parser.parse_args(words)
    gpus = visible_gpus() if options.device == "cuda" else 0
    if options.device == "cuda" and not gpus:
        print(f"{NO_GPU}; --device cpu runs the same code on processors", file=sys.stderr)
    chosen = tuple(replace(c, limit=c.limit * options.patience) for c in CHECKS if c.name in options.only)
    made = checklist(chosen, options.device, gpus, options.out)
    print(table(made))
    return exit_code(options.device, made["rows"])


if __name__ == "__main__":
    sys.exit(main())
