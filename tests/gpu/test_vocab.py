"""The Triton kernels of the vocabulary pass against its torch path, on a card, in tiles of the size used there."""

from __future__ import annotations

import pytest
import torch

from entropostat.rl.vocab import OUTPUTS, Head, VocabStats, Wanted, vocab_statistics

pytestmark = pytest.mark.gpu

WANTED = Wanted(OUTPUTS, (0.5, 1.5))
HEADS = [Head(temperature=0.8), Head(scale=0.5, softcap=30.0)]
TOLERANCE = {torch.float32: 1e-4, torch.bfloat16: 2**-7}
"""Of the largest gradient. float32: 50,000 terms in another order; bfloat16: the same tiles, of whose products cuBLAS adds
the terms in an order of its own.
"""


def named(stats: VocabStats) -> dict[str, torch.Tensor]:
    plain = {name: getattr(stats, name) for name in OUTPUTS}
    return plain | {f"lse {t}": x for t, x in zip(WANTED.temperatures, stats.lse, strict=True)}


@pytest.mark.parametrize("head", HEADS, ids=str)
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("bias", [False, True], ids=["no bias", "bias"])
def test_the_kernels_agree_with_torch(
    head: Head, dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not torch.cuda.is_available():
        pytest.fail("this target needs a CUDA device")
    draw = torch.Generator("cuda").manual_seed(1)
    sizes = [(4500, 128), (50_257, 128), *([(50_257,)] if bias else [])]
    leaves = [torch.randn(size, device="cuda", generator=draw) / 3 for size in sizes]
    leaves = [x.to(dtype).requires_grad_() for x in leaves]
    labels = torch.randint(50_257, (4500,), device="cuda", generator=draw)
    both = []
    for path in ("triton", "torch"):
        monkeypatch.setenv("ENTROPOSTAT_VOCAB", path)
        values = named(
            vocab_statistics(leaves[0], leaves[1], labels, WANTED, bias=leaves[2] if bias else None, head=head)
        )
        both.append((values, torch.autograd.grad(sum(x.sin().sum() for x in values.values()), leaves)))
    (mine, my_slopes), (theirs, their_slopes) = both
    for name, want in theirs.items():
        torch.testing.assert_close(mine[name], want, rtol=1e-4, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}")
    for got, want in zip(my_slopes, their_slopes, strict=True):
        scale = want.float().abs().max()
        torch.testing.assert_close(got.float() / scale, want.float() / scale, rtol=0, atol=TOLERANCE[dtype])
