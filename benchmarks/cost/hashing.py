"""What the hashes of a checkpoint cost a save, beside the save itself.

    python -m benchmarks.cost.hashing --size 1024     MiB of a checkpoint; prints a table, writes nothing

A save writes a model and twice as much optimizer state by safetensors and torch, syncs all of it, writes the list of its files, and
takes its name. The files are hashed while they are synced. Saves with and without the hashes come in pairs, in turns, on the file
system of ``--folder``.

    save       median and least seconds of a save whose list has no hashes
    hashed     of the same save with them
    cost       median difference within a pair, with its quartiles, and the difference of the least, over the save
    alone      seconds of the hashes of the same files, when nothing else is done
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from unittest.mock import patch

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
    hashes = manifest._hashes if hashed else lambda paths: ["0" * 32 for _ in paths]
    with (
        patch.object(manifest, "_hashes", hashes),
        whole_folder(final, seal=lambda folder: manifest.seal(folder, world_size=1, engine="torch")) as folder,
    ):
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
    times: dict[bool, list[float]] = {False: [], True: []}
    alone: list[float] = []
    with tempfile.TemporaryDirectory(dir=args.folder) as scratch:
        final = Path(scratch) / "checkpoint-1"
        for turn in range(args.rounds + 1):
            for hashed in (False, True) if turn % 2 else (True, False):
                shutil.rmtree(final, ignore_errors=True)
                took = save(final, weights, states, hashed)
                if turn:  # the first one warms up
                    times[hashed].append(took)
            begin = time.perf_counter()
            manifest._hashes([final / "model.safetensors", final / "optimizer.pt"])
            alone.append(time.perf_counter() - begin)
    plain, sealed = times[False], times[True]
    low, middle, high = statistics.quantiles([b - a for a, b in zip(plain, sealed, strict=True)], n=4)
    usual, least = statistics.median(plain), min(plain)
    print(
        f"median  save {usual:.2f} s, hashed {statistics.median(sealed):.2f} s, alone {statistics.median(alone):.3f} s"
    )
    print(f"        cost {middle / usual:+.1%} ({low / usual:+.1%} to {high / usual:+.1%})")
    print(f"least   save {least:.2f} s, hashed {min(sealed):.2f} s, alone {min(alone):.3f} s")
    print(f"        cost {(min(sealed) - least) / least:+.1%}")


if __name__ == "__main__":
    main()
