"""What a rank holds in memory only, beside every checkpoint: without it a resumed run would be another one.

- The slices of the current generation and the micro-step counter: a run that generated anew would shift its cycle for ever.
- The loss and the metrics since the last log, so that a log interval goes on through the checkpoint.
- The completions of the current generation, which the next log may have to show: on the main process, for the same of all ranks.

Tensors are written as safetensors, the rest as JSON.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors.torch import load_file, save_file

from entropostat.trainers.trl.log import COLUMNS, NAMED


class Shown(Protocol):
    """Who knows the completions that the next log may have to show (watch/monitors.py)."""

    def shown_tokens(self) -> list[Any]: ...

    def show_again(self, rows: list[Any]) -> None: ...


def rank_files(folder: Path, rank: int) -> tuple[Path, Path]:
    return folder / f"rank{rank}.safetensors", folder / f"rank{rank}.json"


def save_rank(trainer: Any, folder: Path, shown: Shown) -> None:
    """Write this rank's part into the checkpoint ``folder``."""
    tensors_file, plain_file = rank_files(folder, trainer.accelerator.process_index)
    tensors: dict[str, torch.Tensor] = {}
    slices: list[dict[str, Any]] = []
    for index, part in enumerate(trainer._buffered_inputs or []):
        slices.append({})
        for key, value in part.items():
            if isinstance(value, torch.Tensor):
                tensors[f"{index}:{key}"] = value.detach().cpu().contiguous().clone()
            elif value is not None:
                slices[-1][key] = value
    plain = {
        "step": trainer._step,
        "slices": slices,
        "loss": float(trainer._tr_loss),
        "logged": trainer._globalstep_last_logged,
        "metrics": {mode: dict(values) for mode, values in trainer._metrics.items()},
    }
    if trainer.accelerator.is_main_process:
        plain |= {"completions": completions(trainer._logs), "shown": shown.shown_tokens()}
    folder.mkdir(parents=True, exist_ok=True)
    save_file(tensors, tensors_file)
    plain_file.write_text(json.dumps(plain, default=lambda x: x.item() if hasattr(x, "item") else str(x)))


def completions(logs: dict[str, Any]) -> dict[str, Any]:
    """TRL's log of the newest completions as plain lists. Images are left out."""
    kept: dict[str, Any] = {name: list(logs[name]) for name in COLUMNS}
    return kept | {name: {key: list(values) for key, values in logs[name].items()} for name in NAMED}


def restore_rank(trainer: Any, folder: Path, shown: Shown) -> bool:
    """Read it back. False where the checkpoint has none for this rank: another program wrote it."""
    tensors_file, plain_file = rank_files(folder, trainer.accelerator.process_index)
    if not plain_file.is_file() or not tensors_file.is_file():
        return False
    saved = json.loads(plain_file.read_text())
    slices: list[dict[str, Any]] = [dict(part) for part in saved["slices"]]
    for name, tensor in load_file(tensors_file).items():
        index, _, key = name.partition(":")
        slices[int(index)][key] = tensor.to(trainer.accelerator.device)
    trainer._step = saved["step"]
    trainer._buffered_inputs = slices or None
    trainer._tr_loss += saved["loss"]
    trainer._total_loss_scalar -= saved["loss"]  # the mean that is reported at the end is of the steps of this call
    trainer._globalstep_last_logged = saved["logged"]
    for mode, values in saved["metrics"].items():
        for key, entries in values.items():
            trainer._metrics[mode][key] = list(entries)
    shown.show_again(saved.get("shown", []))
    for name, kept in saved.get("completions", {}).items():
        for key, entries in kept.items() if name in NAMED else ():
            trainer._logs[name][key].extend(entries)
        if name in COLUMNS:
            trainer._logs[name].extend(kept)
    return True
