"""The Triton kernels of the vocabulary pass against its torch path: each statistic, and the gradient of all together."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from benchmarks.smoke.row import Place, Seen, Skipped, require

VALUES = 1e-4
"""Absolute and relative, of float32 sums."""
SLOPES = {"float32": 1e-4, "bfloat16": 2**-7}
"""Of the largest gradient. float32: 50,000 terms in another order; bfloat16: the same tiles, of whose products cuBLAS adds the
terms in an order of its own."""
CARD, SMALL = (4500, 128, 50_257), (5, 8, 71)
"""Tokens, width, vocabulary: several tiles of the size used on a card, the last of them ragged; what Triton's interpreter can do."""


def check(place: Place) -> Seen:
    if find_spec("triton") is None:
        raise Skipped("Triton is not installed")
    if place.device == "cpu":
        os.environ["TRITON_INTERPRET"] = "1"  # read when Triton is imported
    sizes = CARD if place.device == "cuda" else SMALL
    worst = {"values": 0.0, "gradients": 0.0}
    for dtype in SLOPES if place.device == "cuda" else ("float32",):
        for bias in (False, True):
            for scale, softcap, temperature in ((1.0, None, 0.8), (0.5, 30.0, 1.0)):
                case = f"{dtype}{', bias' if bias else ''}{', softcap' if softcap else ''}"
                apart = compare(
                    place.device, sizes, dtype, bias, {"scale": scale, "softcap": softcap, "temperature": temperature}
                )
                judge(case, apart, dtype)
                worst = {key: max(worst[key], share) for key, share in worst_of(apart, dtype).items()}
    return Seen(
        f"at worst {worst['values']:.0%} of the tolerance of values, {worst['gradients']:.0%} of that of gradients",
        worst,
    )


def worst_of(apart: dict[str, float], dtype: str) -> dict[str, float]:
    """Shares of the tolerance."""
    return {
        "values": max(v for k, v in apart.items() if k != "gradient"),
        "gradients": apart["gradient"] / SLOPES[dtype],
    }


def judge(case: str, apart: dict[str, float], dtype: str) -> None:
    """``apart``: statistic -> the largest difference as a share of its tolerance; "gradient" -> share of the largest one. Not a
    number is no agreement."""
    for name, far in apart.items():
        limit = SLOPES[dtype] if name == "gradient" else 1.0
        require(far <= limit, f"{case}: {name} is off by {far:.3g}, at most {limit:g}", **apart)


def compare(device: str, sizes: tuple[int, int, int], dtype: str, bias: bool, head: dict[str, Any]) -> dict[str, float]:
    import torch

    from benchmarks.cost.vocab_cuda import path
    from entropostat.rl.vocab import OUTPUTS, Head, Wanted, vocab_statistics

    tokens, width, vocabulary = sizes
    draw = torch.Generator(device).manual_seed(1)
    shapes = [(tokens, width), (vocabulary, width), *([(vocabulary,)] if bias else [])]
    leaves = [torch.randn(shape, device=device, generator=draw) / 3 for shape in shapes]
    leaves = [x.to(getattr(torch, dtype)).requires_grad_() for x in leaves]
    labels = torch.randint(vocabulary, (tokens,), device=device, generator=draw)
    wanted, both = Wanted(OUTPUTS, (0.5, 1.5)), []
    for name in ("triton", "torch"):
        with path(name):
            stats = vocab_statistics(
                leaves[0], leaves[1], labels, wanted, bias=leaves[2] if bias else None, head=Head(**head)
            )
        values = {one: getattr(stats, one) for one in OUTPUTS}
        values |= {f"lse at temperature {t}": x for t, x in zip(wanted.temperatures, stats.lse, strict=True)}
        total = sum((x.sin().sum() for x in values.values()), torch.zeros((), device=device))
        both.append((values, torch.autograd.grad(total, leaves)))
    (mine, my_slopes), (theirs, their_slopes) = both
    apart = {name: largest((mine[name] - x).abs() / (VALUES * (1 + x.abs()))) for name, x in theirs.items()}
    slopes = [
        largest((a.float() - b.float()).abs()) / largest(b.float().abs())
        for a, b in zip(my_slopes, their_slopes, strict=True)
    ]
    return apart | {"gradient": max(slopes)}


def largest(x: Any) -> float:
    """A NaN among the numbers is the largest of them."""
    return float(x.max())
