"""The sizes of a decoder-only transformer and what it counts: the dense families whose weights follow Llama's layout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from entropostat.recipe.errors import show


class UnknownShape(ValueError):
    """A model whose sizes cannot be told, with the reason."""


@dataclass(frozen=True)
class Shape:
    """H width, L layers, A = heads * head_dim, K = kv_heads * head_dim, F feed-forward width, V vocabulary."""

    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    intermediate: int
    vocabulary: int
    tied: bool
    qkv_bias: bool = False
    """Qwen2's: a bias at q, k and v."""
    output_bias: bool = False
    """Llama's attention_bias: one at the output projection too."""
    mlp_bias: bool = False
    qk_norm: bool = False
    """Qwen3's: a norm over each head of q and k."""

    @property
    def queries(self) -> int:
        return self.heads * self.head_dim

    @property
    def keys(self) -> int:
        return self.kv_heads * self.head_dim

    @property
    def matrices(self) -> int:
        """Weights of a layer's seven matrices: H A + 2 H K + A H + 3 H F. Muon takes these."""
        return 2 * self.hidden * (self.queries + self.keys) + 3 * self.hidden * self.intermediate

    @property
    def layer_tensors(self) -> tuple[int, ...]:
        """Numbers in each weight of a layer: its matrices, biases, and norms."""
        hidden, inner, queries, keys = self.hidden, self.intermediate, self.queries, self.keys
        tensors = [
            hidden * queries,
            hidden * keys,
            hidden * keys,
            queries * hidden,
            *3 * [hidden * inner],
            hidden,
            hidden,
        ]
        tensors += [queries, keys, keys] if self.qkv_bias else []
        tensors += [hidden] if self.output_bias else []
        tensors += [inner, inner, hidden] if self.mlp_bias else []
        return (*tensors, *([self.head_dim, self.head_dim] if self.qk_norm else []))

    @property
    def layer(self) -> int:
        return sum(self.layer_tensors)

    def below(self, limit: int) -> int:
        """Weights in tensors of fewer numbers than ``limit``."""
        rest = [self.hidden, *(1 if self.tied else 2) * [self.table]]
        inside = sum(size for size in self.layer_tensors if size < limit)
        return self.layers * inside + sum(size for size in rest if size < limit)

    @property
    def table(self) -> int:
        """Weights of the embedding, and of the head where it has its own."""
        return self.vocabulary * self.hidden

    @property
    def backbone(self) -> int:
        """Everything but a head of its own: embedding, layers, last norm."""
        return self.table + self.layers * self.layer + self.hidden

    @property
    def parameters(self) -> int:
        return self.backbone + (0 if self.tied else self.table)

    @property
    def linear(self) -> int:
        """Weights of the layers' matrices and the head: what autocast keeps a second, half as large copy of."""
        return self.layers * self.matrices + self.table

    def adapter(self, rank: int, targets: str | list[str]) -> int:
        """Weights of LoRA: rank * (inputs + outputs) of each matrix that has one."""
        sides = {
            "q_proj": self.hidden + self.queries,
            "k_proj": self.hidden + self.keys,
            "v_proj": self.hidden + self.keys,
            "o_proj": self.queries + self.hidden,
            "gate_proj": self.hidden + self.intermediate,
            "up_proj": self.hidden + self.intermediate,
            "down_proj": self.intermediate + self.hidden,
        }
        if isinstance(targets, str) and targets != "all-linear":
            targets = [targets]
        chosen = list(sides) if isinstance(targets, str) else [name for name in sides if name in targets]
        return self.layers * rank * sum(sides[name] for name in chosen)


LARGEST_SIZE = 2**24
FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
"""`model_type` of the configurations that are read. SmolLM2 is a llama."""


def from_config(config: Mapping[str, Any]) -> Shape:
    """The shape in the content of a model's config.json. Raises UnknownShape for another family or a missing key."""
    family = config.get("model_type")
    if family not in FAMILIES:
        raise UnknownShape(f"model_type {family!r} is none of {', '.join(FAMILIES)}, whose weights can be counted here")
    try:
        heads, hidden = _count(config, "num_attention_heads"), _count(config, "hidden_size")
        default_dim = 128 if family == "qwen3" else hidden // heads
        bias = bool(config.get("attention_bias", False))
        return Shape(
            hidden=hidden,
            layers=_count(config, "num_hidden_layers"),
            heads=heads,
            kv_heads=_count(config, "num_key_value_heads", heads),
            head_dim=_count(config, "head_dim", default_dim),
            intermediate=_count(config, "intermediate_size"),
            vocabulary=_count(config, "vocab_size"),
            tied=bool(config.get("tie_word_embeddings", False)),
            qkv_bias=family == "qwen2" or (bias and family != "mistral"),
            output_bias=bias and family in ("llama", "qwen3"),
            mlp_bias=bool(config.get("mlp_bias", False)) and family == "llama",
            qk_norm=family == "qwen3",
        )
    except KeyError as error:
        raise UnknownShape(f"its config.json has no {error.args[0]}") from error


def _count(config: Mapping[str, Any], key: str, default: int | None = None) -> int:
    """A size, which a file from elsewhere may give as anything."""
    value = config[key] if default is None else config.get(key) or default
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= LARGEST_SIZE:
        raise UnknownShape(
            f"its config.json says {key}: {show(value)}, and not a whole number from 1 to {LARGEST_SIZE}"
        )
    return value
