"""Faults of the vocabulary pass and of the entropy-change formulas."""

from __future__ import annotations

from importlib.util import find_spec

from mutation.mutants import Mutant

VOCAB = ("tests/unit/test_rl_vocab.py",)
KERNELS_TESTS = ("tests/unit/interpreted_vocab.py",)
DISPATCH = ("tests/unit/test_rl_vocab_triton.py",)
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
    Mutant("vocab scores padding", "vocab.py", "places = mask.bool()", "places = (mask < 2)", VOCAB),
    Mutant("vocab forgets the bias in backward", "vocab.py", "*saved = ctx.saved_tensors", "*saved = (*ctx.saved_tensors[:2], None, *ctx.saved_tensors[3:])", VOCAB),
    Mutant("vocab squares only the first rows", "vocab_sums.py", "slice(first, first + BLOCK)", "slice(0, BLOCK)", VOCAB),
)  # fmt: skip

KERNELS = (
    Mutant("kernel forgets the old maximum", "vocab_triton.py", "xs = (xs + step * s) *", "xs = xs *", KERNELS_TESTS),
    Mutant("kernel squares forget it", "vocab_triton.py", "xs2 = (xs2 + step * s2) *", "xs2 = xs2 *", KERNELS_TESTS),
    Mutant("kernel shrinks squares once", "vocab_triton.py", "s2 = s2 * shrink * shrink", "s2 = s2 * shrink", KERNELS_TESTS),
    Mutant("kernel shrinks all temperatures alike", "vocab_triton.py", "lse * tl.exp(step * rates)", "lse * tl.exp(step)", KERNELS_TESTS),
    Mutant("kernel sums the columns outside", "vocab_triton.py", "tl.where(inside, tl.exp(x), 0.0)", "tl.exp(x)", KERNELS_TESTS),
    Mutant("kernel sums them at a temperature", "vocab_triton.py", "hot = tl.where(inside[None, :], ", "hot = tl.where(inside[None, :] | True, ", KERNELS_TESTS),
    Mutant("kernel takes the last of ties", "vocab_triton.py", "peak > m, (start", "peak >= m, (start", KERNELS_TESTS),
    Mutant("kernel counts places from the tile", "vocab_triton.py", "(start + first + place)", "(first + place)", KERNELS_TESTS),
    Mutant("kernel takes any tile's label", "vocab_triton.py", "tl.store(x_ptr + row, x, mask=mine)", "tl.store(x_ptr + row, x)", KERNELS_TESTS),
    Mutant("kernel lets infinity in", "vocab_triton.py", "-_LIMIT, _LIMIT, propagate", "-float('inf'), float('inf'), propagate", KERNELS_TESTS),
    Mutant("kernel forgets the bias", "vocab_triton.py", "(y.to(tl.float32) + bias.to(tl.float32))", "(y.to(tl.float32))", KERNELS_TESTS),
    Mutant("kernel rounds no bias", "vocab_triton.py", "bias.to(tl.float32)).to(y.dtype)", "bias.to(tl.float32))", KERNELS_TESTS),
    Mutant("kernel forgets the cap's slope", "vocab_triton.py", "d *= 1 - t * t", "d *= 1", KERNELS_TESTS),
    Mutant("kernel forgets the scale", "vocab_triton.py", "(d * factor)", "(d)", KERNELS_TESTS),
    Mutant("kernel turns an entropy gradient", "vocab_triton.py", "[a, -g_entropy,", "[a, g_entropy,", KERNELS_TESTS),
    Mutant("kernel drops the squares' gradient", "vocab_triton.py", "2 * g_p2 + g_p2_logp, 2", "g_p2_logp, 2", KERNELS_TESTS),
    Mutant("kernel forgets the label's temperature", "vocab_triton.py", "g_logp + g_logit * self.head.temperature", "g_logp + g_logit", KERNELS_TESTS),
    Mutant("kernel forgets the top", "vocab_triton.py", "tl.load(line + 6 * lines_stride)", "0.0", KERNELS_TESTS),
    Mutant("kernel reads another lse", "vocab_triton.py", "(7 + n_rates + k)", "(7 + k)", KERNELS_TESTS),
    Mutant("kernel rounds a bias gradient", "vocab_triton.py", "if exact and tile", "if not exact and tile", KERNELS_TESTS),
    Mutant("kernels cover truncations", "vocab.py", "or wanted != plain", "", DISPATCH),
    Mutant("kernels cover soft labels", "vocab.py", "if not here or soft or", "if not here or", DISPATCH),
    Mutant("kernels cover double precision", "vocab.py", "or torch.promote_types(dtype, torch.float32) != torch.float32", "", DISPATCH),
    Mutant("kernels run on any device", "vocab.py", 'device.type == "cuda" and', "", DISPATCH),
)  # fmt: skip
if find_spec("triton") is None:
    KERNELS = ()

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
