"""What a copy of a TokenBatch shares with the one it was made from."""

from __future__ import annotations

import pytest
import torch

from entropostat.rl.batch import TokenBatch


def batch() -> TokenBatch:
    return TokenBatch(torch.randn(2, 3), torch.tensor([[1, 1, 0], [1, 0, 0]]), advantages=torch.ones(2))


def test_a_copy_has_the_other_values_and_leaves_its_source_alone():
    source = batch()
    copy = source.set(advantages=torch.zeros(2), stats={"x": torch.ones(())})
    assert copy.advantages.tolist() == [0, 0] and source.advantages.tolist() == [1, 1]
    assert copy.logps is source.logps and not source.stats and copy == copy.set()


def test_what_follows_from_the_mask_is_shared_unless_the_mask_is_another():
    source = batch()
    assert source.set(seed=3).valid is source.valid
    other = source.set(mask=torch.ones(2, 3))
    assert int(other.count) == 6 and int(source.count) == 3 and int(other.set(seed=1).count) == 6


def test_a_field_that_no_batch_has():
    with pytest.raises(TypeError, match="no field seeds"):
        batch().set(seeds=3)
