"""The nucleus without the token that takes its mass beyond top_p."""

from __future__ import annotations

import pytest
import torch

from entropostat.rl.vocab import Tiles, vocab_statistics
from entropostat.rl.vocab_sums import Wanted


def nucleus(p, top_p, top_k=64, leaf=False):
    z = torch.tensor(p, dtype=torch.float64).log().requires_grad_(leaf)
    labels = torch.zeros(len(p), dtype=torch.long)
    wanted = Wanted((), top_p=top_p, top_k=top_k, crossing=False)
    stats = vocab_statistics(z, torch.eye(z.shape[1]).double(), labels, wanted, tiles=Tiles(2, 2))
    return stats.nucleus_entropy, stats.nucleus_exact, z


def of(*p):
    return float(torch.distributions.Categorical(probs=torch.tensor(p, dtype=torch.float64)).entropy())


def test_without_its_crossing_token_a_nucleus_is_what_lies_below_top_p_and_may_be_empty():
    rows = [[0.4, 0.3, 0.2, 0.1], [0.85, 0.05, 0.05, 0.05], [0.5, 0.25, 0.125, 0.125], [0.1, 0.4, 0.25, 0.25]]
    entropy, exact, z = nucleus(rows, 0.76, leaf=True)
    want = [of(0.4, 0.3), 0.0, of(0.5, 0.25), 0.0]  # of tied tokens all or none
    torch.testing.assert_close(entropy, torch.tensor(want, dtype=torch.float64), rtol=1e-12, atol=1e-12)
    assert exact.all()
    (gradient,) = torch.autograd.grad(entropy.sum(), z)
    p = torch.tensor([4 / 7, 3 / 7]).double()
    torch.testing.assert_close(gradient[0, :2], -p * (p.log() + want[0]))
    assert (gradient[:, 2:] == 0).all() and (gradient[1] == 0).all() and (gradient[3] == 0).all()


def test_a_nucleus_that_needs_more_than_top_k_entries_is_that_of_top_k_and_says_so():
    entropy, exact, _ = nucleus([[0.3, 0.25, 0.2, 0.15, 0.1], [0.6, 0.3, 0.05, 0.03, 0.02]], 0.8, top_k=2)
    assert exact.tolist() == [False, True]
    torch.testing.assert_close(entropy, torch.tensor([of(0.3, 0.25), 0.0], dtype=torch.float64), rtol=1e-12, atol=1e-12)


def test_nuclei_with_and_without_the_crossing_token_at_once_are_refused():
    parts = [Wanted((), top_p=0.8), Wanted((), top_p=0.8, crossing=False)]
    with pytest.raises(ValueError, match="with and without the token that crosses top_p"):
        Wanted.merged(parts)
    assert Wanted.merged([Wanted((), (1.2,)), parts[1]]).crossing is False
    assert Wanted.merged([Wanted((), (1.2,)), parts[0]]).crossing is True
