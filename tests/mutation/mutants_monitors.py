"""Faults of the monitors: signs of the forces, masks of the distributions, ranks of the window."""

from __future__ import annotations

from mutation.mutants import Mutant

MATHS = ("tests/unit/test_rl_monitors.py", "tests/unit/test_rl_monitors_text.py")
LOOKING = ("tests/unit/test_rl_diversity.py", "tests/unit/test_rl_laws.py")
LIVE = ("tests/contract/test_monitors.py",)


def fault(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"monitor {name}", f"diagnostics/{file}.py", old, new, MATHS)


def on_window(name: str, old: str, new: str) -> Mutant:
    return Mutant(f"monitor {name}", "window.py", old, new, MATHS)


def live(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"monitor {name}", f"{file}.py", old, new, LIVE, "trainers")


def looking(name: str, file: str, old: str, new: str) -> Mutant:
    return Mutant(f"monitor {name}", f"diagnostics/{file}.py", old, new, LOOKING)


MONITORS = (
    fault("turns the push round", "forces", "parts.append(-up * excess", "parts.append(up * excess"),
    fault("turns the plain push round", "forces", "predicted_dh(logp, entropy, *sums, up)", "predicted_dh(logp, entropy, *sums, -up)"),
    fault("turns the bonus round", "forces", "parts.append(bonus *", "parts.append(-bonus *"),
    fault("forgets the probability of the bonus", "forces", "logp.exp() * excess.square()", "excess.square()"),
    fault("takes the gradient for the pull", "forces", "name: -value for name", "name: value for name"),
    fault("forgets the share of the loss", "forces", "list(at.values()), weight,", "list(at.values()), None if weight is None else torch.ones_like(weight),"),
    fault("adds signed forces", "forces", "(value.abs() for value in own.values())", "(value for value in own.values())"),
    fault("knows every push", "forces", "pushed if known else", "pushed if True else"),
    fault("pushes masked tokens", "forces", "torch.stack([absolute, pushed]).masked_fill_(batch.invalid, 0.0)", "torch.stack([absolute, pushed])"),
    fault("touches masked tokens", "forces", "batch.valid & (a > 0)", "(a > 0)"),
    fault("mixes the signs", "forces", "batch.valid & (a < 0)", "batch.valid & (a > 0)"),
    fault("counts masked tokens", "entropy", "torch.where(valid, place, BINS)", "place"),
    fault("sees an even histogram", "entropy", "share.pow(1 / 3)", "share.pow(1 / 2)"),
    fault("takes the lower token", "entropy", "low + (rank - math.floor(rank)) * (high - low)", "low"),
    fault("counts what is below", "entropy", "sum(histogram[index + 1 :])", "sum(histogram[:index])"),
    fault("sums masked entropies by place", "entropy", "torch.where(valid, index * DECILES // length.clamp(min=1), DECILES)", "(index * DECILES // length.clamp(min=1)).clamp(0, DECILES)"),
    fault("counts places from the padding", "entropy", "valid.sum(1, keepdim=True)\n", "torch.full_like(valid.sum(1, keepdim=True), valid.size(1))\n"),
    fault("sums masked entropies by outcome", "entropy", "torch.where(valid, entropy.detach(), 0.0).sum(1), valid", "entropy.detach().sum(1), valid"),
    fault("takes the unscored for wrong", "entropy", "right == 0]", "right != 1]"),
    fault("reads padding", "text", "valid.unfold(1, n, 1).all(2)", "valid.unfold(1, n, 1).any(2)"),
    fault("compares all rows", "text", ".sort(1).values\n    return", ".flatten().sort().values.unsqueeze(0)\n    return"),
    fault("prints padding", "text", "torch.where(valid, ids + 1, 0)", "(ids + 1)"),
    fault("forgets the order of the text", "text", "torch.where(valid, ids + 1, 0) * _powers(ids.size(1), ids.device)", "torch.where(valid, ids + 1, 0) * BASE"),
    fault("averages the lonely", "text", "[size > 1]", "[size > 0]"),
    fault("counts the unscored", "learning", "hits / scored,", "hits / table.size(1),"),
    fault("loses the sign of the gap", "learning", '"gap": k - one', '"gap": one - k'),
    fault("reads the ratio of the token", "trust", "if sequence else x", "if False else x"),
    fault("takes the end of the masked", "trust", "torch.stack([ratio, -ratio]).masked_fill_(batch.invalid, -torch.inf)", "torch.stack([ratio, -ratio])"),
    on_window("skips a rank", "max(islice(numbers, world))", "[*islice(numbers, world)][0]"),
    on_window("forgets a micro-batch", "values if before is None else before + values", "values"),
    on_window("forgets the largest", "values if before is None else torch.maximum(before, values)", "values"),
    looking("counts those without an answer", "consensus", "there = keys >= 0", "there = ~keys.isnan()"),
    looking("agrees alone", "consensus", ".sum(1) > 1]", ".sum(1) > 0]"),
    looking("weighs all alike", "consensus", "logps.masked_fill(~there, -torch.inf)", "(0 * logps).masked_fill(~there, -torch.inf)"),
    looking("takes chance for information", "consensus", "found, room = of_prompt + of_answer - of_both - expected", "found, room = of_prompt + of_answer - of_both"),
    looking("deals with replacement", "consensus", "possible = (n <= a) & (n <= b)", "possible = (n <= a)"),
    looking("turns information round", "consensus", "of_prompt + of_answer - of_both", "of_prompt - of_answer + of_both"),
    looking("looks at padding", "similarity", "torch.where(valid, ids + 1, 0)", "(ids + 1)"),
    looking("counts the grams of padding", "similarity", "torch.where(valid, (hashes.bitwise_right_shift(32) & 1) * 2 - 1, 0)", "((hashes.bitwise_right_shift(32) & 1) * 2 - 1)"),
    looking("hashes without a sign", "similarity", "(hashes.bitwise_right_shift(32) & 1) * 2 - 1", "torch.ones_like(hashes)"),
    looking("likes the empty", "similarity", "kernel.diagonal(dim1=1, dim2=2).copy_(there)", "pass"),
    looking("compares each with itself", "similarity", "of_pairs = kernel.sum() - n.sum()", "of_pairs = kernel.sum()"),
    looking("compares within for across", "similarity", "centre.sum(0).square().sum() - centre.square().sum()", "centre.square().sum()"),
    looking("counts grams with a hole", "text", "counted = whole[members.rows] &", "counted = torch.ones_like(whole)[members.rows] &"),
    looking("counts grams that nobody has", "text", " & members.there.unsqueeze(2)", ""),
    looking("keeps what goes elsewhere", "whole", "table[~send]", "table"),
    looking("takes what begins elsewhere", "whole", "pooled[first == me]", "pooled[first >= 0]"),
    looking("takes squares for a spread", "spikes", "(squares - total * mean)", "squares"),
    looking("divides by n", "spikes", "/ (window - 1))", "/ window)"),
    looking("turns the law round", "law", "(-math.exp(h), r)", "(math.exp(h), r)"),
    looking("believes its residuals", "law", "worth = (1 - rho) / (1 + rho)", "worth = 1.0"),
    looking("forgets the way to the ceiling", "law", " + (1 + mean_x) ** 2 / (xx * worth)", ""),
    looking("turns the theorems round", "generations", "found.append((-covariance,", "found.append((covariance,"),
    looking("foretells the past", "generations", "xy / xx * -newest", "xy / xx * newest"),
    looking("takes one theorem for the other", "generations", 'covariance = getattr(before, name)', 'covariance = before.covariance'),
    looking("tells of few samples", "frontier", "self.effective >= LEAST", "self.effective >= 0"),
    looking("ties all to the first", "frontier", "upto**n - (upto - mass).clamp(min=0.0) ** n", "mass**n"),
    looking("spends all on one prompt", "frontier", "return (reward - first) / gain", "return reward / gain"),
    live("counts a generation twice", "watch/monitors", "first = RIGHT in inputs and OLD_ENTROPY not in inputs", "first = RIGHT in inputs"),
    live("loses the share of a part", "watch/monitors", "share if part.dim() else None", "None if part.dim() == 0 else 2 * share"),
    live("watches every generation", "watch/monitors", "generation % self.settings.monitor_every == 0", "True"),
    live("shows rows in the order of the window", "watch/monitors", "table[uid] = values", "table[len(table) - 1 - uid] = values"),
    live("shows entropies of tool output", "watch/monitors", "round(h, 4) if m else None", "round(h, 4)"),
    live("forgets the forecast", "watch/monitor_report", "self.forecast |= state", "state"),
    live("takes the gap of unscored tokens", "watch/monitors", "batch.valid & gap.isfinite()", "gap.isfinite()"),
)  # fmt: skip
