"""One line of the table of memory."""

from __future__ import annotations

from dataclasses import dataclass

GENERATE, HEAD, LAYERS, UPDATE = "generate", "head", "layers", "update"
MOMENTS = (GENERATE, HEAD, LAYERS, UPDATE)
"""The moments that compete for the peak: sampling, the backward pass in the head (all activations are alive), in a layer
(its gradients too), and the optimizer's step."""
TRAINING = (HEAD, LAYERS, UPDATE)


@dataclass(frozen=True)
class Item:
    """Bytes of one rank while ``moments`` last."""

    name: str
    size: float
    moments: tuple[str, ...] = MOMENTS
    host: bool = False
    """In main memory, and not on the GPU."""
