"""The rollout buffer beside every checkpoint: without it a resumed run would generate anew and shift its cycle for ever.

TRL keeps the slices of a generation and a micro-step counter in memory only. They are written per rank, tensors as
safetensors and the rest as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file


def buffer_files(folder: Path, rank: int) -> tuple[Path, Path]:
    return folder / f"generation-rank{rank}.safetensors", folder / f"generation-rank{rank}.json"


def save_buffer(trainer: Any, folder: Path) -> None:
    """Write this rank's buffered generation and micro-step counter into the checkpoint ``folder``."""
    tensors_file, plain_file = buffer_files(folder, trainer.accelerator.process_index)
    tensors: dict[str, torch.Tensor] = {}
    plain: list[dict[str, Any]] = []
    for index, part in enumerate(trainer._buffered_inputs or []):
        plain.append({})
        for key, value in part.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}:{key}"] = value.detach().cpu().contiguous().clone()
            elif value is not None:
                plain[-1][key] = value
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, tensors_file)
    plain_file.write_text(json.dumps({"step": trainer._step, "slices": plain}))


def restore_buffer(trainer: Any, folder: Path) -> bool:
    """Read it back. False where the checkpoint has none for this rank (another world size, or a foreign checkpoint)."""
    tensors_file, plain_file = buffer_files(folder, trainer.accelerator.process_index)
    if not plain_file.is_file() or not tensors_file.is_file():
        return False
    saved = json.loads(plain_file.read_text())
    slices: list[dict[str, Any]] = [dict(part) for part in saved["slices"]]
    for name, tensor in load_file(tensors_file).items():
        index, _, key = name.partition(":")
        slices[int(index)][key] = tensor.to(trainer.accelerator.device)
    trainer._step = saved["step"]
    trainer._buffered_inputs = slices or None
    return True
