"""Faults of the vocabulary pass and of the entropy-change formulas."""

from __future__ import annotations

from mutation.mutants import Mutant

VOCAB = ("tests/unit/test_rl_vocab.py",)
DYNAMICS = ("tests/theory/test_theory_dynamics.py", "tests/golden")

PASS = (
    Mutant("vocab entropy turned", "vocab_sums.py", "log_s - sums", "log_s + sums", VOCAB),
    Mutant("vocab forgets the old maximum", "vocab_sums.py", "xs.add_(step * s)", "xs.add_(0.0 * s)", VOCAB),
    Mutant("vocab squares forget it", "vocab_sums.py", "xs2.add_(step * s2)", "xs2.add_(step * s)", VOCAB),
    Mutant("vocab shrinks squares once", "vocab_sums.py", "s2.mul_(shrink.square())", "s2.mul_(shrink)", VOCAB),
    Mutant("vocab turns a temperature", "vocab_sums.py", "rate = head.temperature / t\n        t", "rate = t\n        t", VOCAB),
    Mutant("vocab drops a gradient", "vocab_sums.py", "else -entropy", "else entropy * 0", VOCAB),
    Mutant("vocab halves a gradient", "vocab_sums.py", "(sum_p2, 2 * part", "(sum_p2, part", VOCAB),
    Mutant("vocab forgets the nucleus", "vocab_sums.py", "torch.where(core, centred", "torch.where(core | True, centred", VOCAB),
    Mutant("vocab forgets min-p", "vocab_sums.py", "torch.where(kept, p", "torch.where(kept | True, p", VOCAB),
    Mutant("vocab takes any tile's label", "vocab_sums.py", "torch.where(inside[:, 0], g * factor, 0.0)", "g * factor", VOCAB),
    Mutant("vocab lets infinity in", "vocab_tiles.py", ".clamp_(-LIMIT, LIMIT)", "", VOCAB),
    Mutant("vocab forgets the cap's slope", "vocab_tiles.py", "square_().neg_().add_(1)", "mul_(0).add_(1)", VOCAB),
    Mutant("vocab in half precision", "vocab_tiles.py", "torch.promote_types(dtype, torch.float32)", "dtype", VOCAB),
    Mutant("vocab scores padding", "vocab.py", "masked_scatter(mask.bool(), values)", "masked_scatter(mask < 2, values)", VOCAB),
    Mutant("vocab forgets the bias in backward", "vocab.py", "projection = Projection(hidden, weight, bias, head, tiles, ctx.dtype)\n            d", "projection = Projection(hidden, weight, None, head, tiles, ctx.dtype)\n            d", VOCAB),
    Mutant("vocab squares only the first rows", "vocab_sums.py", "slice(first, first + BLOCK)", "slice(0, BLOCK)", VOCAB),
)  # fmt: skip

TRUNCATION = (
    Mutant("largest skips a block", "truncation.py", "hot = int((", "hot = -1 + int((", VOCAB),
    Mutant("largest skips the rest", "truncation.py", "[best, x[:, whole:]]", "[best]", VOCAB),
    Mutant("min-p always exact", "truncation.py", "exact = (last < bar) |", "exact = (last < torch.inf) |", VOCAB),
    Mutant("nucleus drops its ties", "truncation.py", "torch.where(best >= edge, p", "torch.where(total - p < top_p, p", VOCAB),
    Mutant("nucleus one too small", "truncation.py", "(total - p < top_p)", "(total < top_p)", VOCAB),
    Mutant("nucleus always exact", "truncation.py", "complete = (total[:, -1] >= top_p) &", "complete = (p[:, 0] > 0) |", VOCAB),
)  # fmt: skip

FORMULAS = (
    Mutant("dynamics turned", "dynamics.py", "return -move * (", "return move * (", DYNAMICS),
    Mutant("dynamics forgets the others", "dynamics.py", " - mean_entropy_slope(", " - 0 * mean_entropy_slope(", DYNAMICS),
    Mutant("dynamics loses a sum", "dynamics.py", "entropy * sum_p2 + sum_p2_logp", "entropy * sum_p2", DYNAMICS),
    Mutant("dynamics lets infinity in", "dynamics.py", "return entropy + logp.clamp(min=-1e4)", "return entropy + logp", DYNAMICS),
    Mutant("dynamics moves its own logit fully", "dynamics.py", "* -torch.expm1(logp.clamp(max=0.0))", "", DYNAMICS),
    Mutant("covariance uncentred", "dynamics.py", "(values - centre)", "values", DYNAMICS),
)  # fmt: skip
