"""Shapes of well-known public models, so that a plan needs neither a download nor a model's files.

The sizes are those of the published config.json files, written from memory of them; the number of weights that each one
gives is the published number exactly, which a test holds on to.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from entropostat.scaling.shape import Shape


@dataclass(frozen=True)
class Preset:
    shape: Shape
    parameters: int
    """As published with the weights."""
    also: tuple[str, ...] = field(default=())
    """Other names of the same shape."""


def _qwen(hidden: int, layers: int, heads: int, kv: int, intermediate: int, vocabulary: int, tied: bool) -> Shape:
    return Shape(hidden, layers, heads, kv, hidden // heads, intermediate, vocabulary, tied, qkv_bias=True)


PRESETS = {
    "smollm2-135m": Preset(Shape(576, 30, 9, 3, 64, 1536, 49152, tied=True), 134_515_008),
    "qwen2.5-0.5b": Preset(_qwen(896, 24, 14, 2, 4864, 151936, tied=True), 494_032_768),
    "qwen2.5-1.5b": Preset(_qwen(1536, 28, 12, 2, 8960, 151936, tied=True), 1_543_714_304),
    "qwen2.5-7b": Preset(_qwen(3584, 28, 28, 4, 18944, 152064, tied=False), 7_615_616_512),
    "qwen2.5-32b": Preset(_qwen(5120, 64, 40, 8, 27648, 152064, tied=False), 32_763_876_352),
    "qwen2.5-72b": Preset(_qwen(8192, 80, 64, 8, 29568, 152064, tied=False), 72_706_203_648),
    "llama-3-8b": Preset(
        Shape(4096, 32, 32, 8, 128, 14336, 128256, tied=False), 8_030_261_248, ("meta-llama-3-8b", "llama-3.1-8b")
    ),
    "llama-3-70b": Preset(
        Shape(8192, 80, 64, 8, 128, 28672, 128256, tied=False),
        70_553_706_496,
        ("meta-llama-3-70b", "llama-3.1-70b", "llama-3.3-70b"),
    ),
}


def named(model: str) -> str | None:
    """The preset that a hub id or file name means: its last part is the preset's name, or that and more after - or `.`."""
    name = model.rpartition("/")[2].lower()
    for key, preset in PRESETS.items():
        if any(name == known or name.startswith((f"{known}-", f"{known}.")) for known in (key, *preset.also)):
            return key
    return None
