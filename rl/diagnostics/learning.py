"""What the groups of a generation say about learning: who is solved, and how much more k tries find than one."""

from __future__ import annotations

import math

from torch import Tensor

from entropostat.rl.reduce import group_matrix


def solving(right: Tensor, groups: Tensor) -> dict[str, float]:
    """Shares of prompts, and pass@k with k the size of the group, where the unbiased estimate is 'any is right'.

    ``right`` (N,) is 1, 0, or NaN where nothing could score the completion, which then does not count; ``groups`` (N,) are
    the prompts, of all ranks. NaN without any scored completion.
    """
    table = group_matrix(right.double(), groups).matrix
    scored = (~table.isnan()).sum(1)
    table, scored = table[scored > 0], scored[scored > 0]
    hits = table.nansum(1)
    shares = [hits == 0, (hits > 0) & (hits < scored), hits == scored, hits / scored, hits > 0]
    none, some, every, one, k = [float(x.double().mean()) if x.numel() else math.nan for x in shares]
    return {"solve_none": none, "solve_some": some, "solve_all": every, "pass@1": one, "pass@k": k, "gap": k - one}
