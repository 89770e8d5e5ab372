"""What the hashes of a checkpoint cost a save, beside the save itself.

    python benchmarks.cost.hashing --size 1024          MiB of a checkpoint; prints a table, writes nothing

A save writes a model and twice as much optimizer state by safetensors and torch, syncs all of it, and takes its name. ``seal`` hashes
while the files are synced. Both are timed with and without the hashes, in turns, on the file system of ``--folder``.

    save       median and least seconds of a save without hashes
    sealed     of the same save with them
    cost       the difference of medians, and of the least, over the save without
    alone      seconds of the hashes of the same files, when nothing else is done
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

import torch
from safetensors.torch import save_file

from entropostat import manifest
from entropostat.atomic import whole_folder


def tensors(mebibytes: int) -> list[torch.Tensor]:
    """Of 64 MiB, as layers are."""
    torch.manual_seed(0)
    return [torch.randn(64 << 18) for _ in range(max(mebibytes // 64, 1))]


def save(final: Path, weights: list[torch.Tensor], states: list[torch.Tensor], hashed: bool) -> float:
    begin = time.perf_counter()
    seal = (lambda folder: manifest.seal(folder, world_size=1, engine="torch")) if hashed else (lambda folder: None)
    with whole_folder(final, seal=seal) as folder:
        folder.mkdir()
        save_file({str(i): tensor for i, tensor in enumerate(weights)}, folder / "model.safetensors")
        torch.save(states, folder / "optimizer.pt")
        (folder / "trainer_state.json").write_text("{}")
    return time.perf_counter() - begin


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=1024, metavar="MIB", help="of the checkpoint")
    parser.add_argument("--rounds", type=int, default=7, metavar="N")
    parser.add_argument("--folder", default=None, help="default: the system's for temporary files")
    args = parser.parse_args()
    everything = tensors(args.size)
    cut = len(everything) // 3
    weights, states = everything[:cut] or everything, everything[cut:]
    found: dict[bool, list[float]] = {False: [], True: []}
    alone: list[float] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        final = Path(scratch) / "checkpoint-1"
        for turn in range(args.rounds + 1):
            for hashed in (False, True) if turn % 2 else (True, False):
                shutil.rmtree(final, ignore_errors=True)
                took = save(final, weights, states, hashed)
                if turn:  # the first one warms up
                    found[hashed].append(took)
            begin = time.perf_counter()
            manifest._hashes([final / "model.safetensors", final / "optimizer.pt"])
            alone.append(time.perf_counter() - begin)
    plain, sealed = found[False], found[True]
    for name, pick in (("median", statistics.median), ("least", min)):
        cost = (pick(sealed) - pick(plain)) / pick(plain)
        print(
            f"{name:<7} save {pick(plain):.2f} s, sealed {pick(sealed):.2f} s: {cost:+.1%}; hashes alone {pick(alone):.3f} s, {pick(alone) / pick(plain):.1%}"
        )


if __name__ == "__main__":
    main()
