"""Logs as other trainers write them, of the same numbers: 80 steps, entropy from .5 to .02 nats at step 40, a reward that stands still."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from pathlib import Path

STEPS = range(1, 81)
Numbers = Mapping[str, float]


def numbers(step: int) -> Numbers:
    return {"entropy": 0.5 if step < 40 else 0.02, "reward": 0.25 + 0.001 * (step % 3), "kl": 0.01 * step}


def trl(folder: Path) -> Path:
    """An output folder with two checkpoints, the newer cut short by nothing, and an evaluation row of its own."""
    rows = [{**numbers(step), "completions/mean_length": 100.0, "epoch": 0.1, "step": step} for step in STEPS]
    for last in (40, 80):
        place = folder / f"checkpoint-{last}"
        place.mkdir(parents=True)
        history = [*rows[:last], {"eval_reward": 0.3, "step": last}]
        (place / "trainer_state.json").write_text(json.dumps({"global_step": last, "log_history": history}))
        (place / "config.json").write_text(json.dumps({"vocab_size": 1000}))
    return folder


def verl(folder: Path) -> Path:
    """What verl's console logger prints through Ray: colours, a prefix, numpy's own spelling, other lines between."""
    lines = [
        "(TaskRunner pid=7) Training Progress:   0%|          | 0/80",
        "step:0 - val-core/openai/gsm8k/acc/mean@1:0.5",
    ]
    for step in STEPS:
        n = numbers(step)
        lines.append(
            f"\x1b[36m(TaskRunner pid=7)\x1b[0m step:{step} - global_seqlen/min:7 - actor/entropy:{n['entropy']} - "
            f"actor/kl_loss:np.float64({n['kl']}) - actor/ppo_kl:9.0 - critic/score/mean:\x1b[32m{n['reward']}\x1b[0m - critic/lr:1e-05"
        )
    file = folder / "verl.log"
    file.write_text("\n".join(lines) + "\n")
    return file


def verl_lines(folder: Path) -> Path:
    """verl's file logger."""
    theirs = {"entropy": "actor/entropy", "reward": "critic/score/mean", "kl": "actor/kl_loss"}
    rows = [{"step": step, "data": {theirs[key]: value for key, value in numbers(step).items()}} for step in STEPS]
    file = folder / "verl.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return file


def printed(folder: Path) -> Path:
    """transformers' dicts behind a progress bar."""
    lines = [f" 1%|#| {step}/80 [00:01<00:10,  1.0it/s]\r{dict(numbers(step)) | {'epoch': 0.1}}" for step in STEPS]
    file = folder / "slurm-1.out"
    file.write_text("\n".join(lines) + "\n")
    return file


def swift(folder: Path) -> Path:
    """ms-swift's logging.jsonl: the step behind a slash."""
    file = folder / "logging.jsonl"
    rows = [{**numbers(step), "global_step/max_steps": f"{step}/80", "memory(GiB)": 1.0} for step in STEPS]
    file.write_text(
        "".join(json.dumps(row) + "\n" for row in [*rows, {"train_runtime": 1.0, "global_step/max_steps": "80/80"}])
    )
    return file


def openrlhf(folder: Path) -> Path:
    file = folder / "openrlhf.log"
    lines = []
    for step in STEPS:
        n = numbers(step)
        status = {
            "policy_loss": 0.1,
            "entropy_loss": n["entropy"],
            "reward": n["reward"],
            "kl": n["kl"],
            "actor_lr": 1e-6,
        }
        lines.append(f"INFO 01-01 10:00:00 ppo_trainer.py:551] ✨ Global step {step}: {status}")
    file.write_text("\n".join(lines) + "\n")
    return file


def csv(folder: Path) -> Path:
    """Two runs in a table that wandb's page exported, with the range of each curve."""
    file = folder / "wandb_export.csv"
    head = ["train/global_step"]
    for key in ("entropy", "reward", "kl"):
        head += [f"one - two - train/{key}", f"one - two - train/{key}__MIN", f"other - train/{key}"]
    lines = [",".join(f'"{name}"' for name in head)]
    for step in STEPS:
        n = numbers(step)
        lines.append(",".join([str(step), *(f"{n[key]},0,{n[key]}" for key in ("entropy", "reward", "kl"))]))
    file.write_text("\n".join(lines) + "\n")
    return file


def tensorboard(folder: Path) -> Path:
    """Event files in a folder of their own, as transformers' callback leaves them."""
    place = folder / "runs" / "Nov30_10-00-00_host"
    place.mkdir(parents=True)
    events = [_event(0, _field(3, b"brain.Event:2"))]
    for step in STEPS:
        summary = b"".join(_field(1, _value(f"train/{key}", value)) for key, value in numbers(step).items())
        events.append(_event(step, _field(5, summary)))
    (place / "events.out.tfevents.1700000000.host.7.0").write_bytes(b"".join(events))
    return folder


def _value(tag: str, value: float) -> bytes:
    """A simple value, or as newer writers have it a tensor of one number: KL as a float, the entropy as a double."""
    dtype = {"train/kl": (1, 5, "<f"), "train/entropy": (2, 6, "<d")}.get(tag)
    if dtype is None:
        return _field(1, tag.encode()) + bytes([2 << 3 | 5]) + struct.pack("<f", value)
    kind, field, layout = dtype
    return _field(1, tag.encode()) + _field(8, bytes([1 << 3, kind]) + _field(field, struct.pack(layout, value)))


def _event(step: int, rest: bytes) -> bytes:
    data = bytes([1 << 3 | 1]) + struct.pack("<d", 1.7e9) + bytes([2 << 3]) + _varint(step) + rest
    return struct.pack("<QI", len(data), 0) + data + bytes(4)


def _field(number: int, data: bytes) -> bytes:
    return bytes([number << 3 | 2]) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


LOGS: dict[str, Callable[[Path], Path]] = {
    made.__name__: made for made in (trl, verl, verl_lines, printed, swift, openrlhf, csv, tensorboard)
}
