"""What the stream of prompts remembers, beside every checkpoint: cursors and memories as JSON, groups that wait as safetensors."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors.torch import load_file, save_file

from entropostat.trainers.rollout.bank import Bank
from entropostat.trainers.rollout.refill import Waiting
from entropostat.trainers.rollout.stream import PromptStream

TENSORS, PLAIN = "stream.safetensors", "stream.json"
ROW, WIDTH = "row:", "width:"


def save_stream(stream: PromptStream, folder: Path) -> None:
    """Called where the trainer saves: all ranks hold the same."""
    plain: dict[str, Any] = {"passes": stream.reserve.passes, "memory": stream.sieves.state()}
    if stream.waiting is not None:
        bank = stream.waiting.bank
        plain |= {"born": stream.waiting.born, "answers": bank.answers, "shown": dict(bank.shown)}
        found = {**{ROW + key: x for key, x in bank.tensors.items()}, **{WIDTH + k: x for k, x in bank.widths.items()}}
        save_file({key: x.detach().cpu().contiguous().clone() for key, x in found.items()}, folder / TENSORS)
    (folder / PLAIN).write_text(json.dumps(plain, default=str))


def restore_stream(stream: PromptStream, folder: Path, device: Any) -> bool:
    """False where the checkpoint has none: the stream begins anew."""
    if not (folder / PLAIN).is_file():
        return False
    plain = json.loads((folder / PLAIN).read_text())
    stream.reserve.passes = {str(name): [int(number), int(at)] for name, (number, at) in plain["passes"].items()}
    stream.sieves.restore(plain["memory"])
    if "born" in plain:
        found = {key: x.to(device) for key, x in load_file(folder / TENSORS).items()}
        part = lambda prefix: {k.removeprefix(prefix): x for k, x in found.items() if k.startswith(prefix)}
        bank = Bank(part(ROW), part(WIDTH), plain["answers"], plain["shown"])
        stream.waiting = Waiting(bank, [int(at) for at in plain["born"]])
    return True
