"""Faults of the client: another mean, another gradient, another generation, a promise that nobody keeps."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

TERMS = ("tests/unit/test_client_terms.py",)
LOSS = ("tests/unit/test_client_loss.py", "tests/unit/test_client_samples.py")
TINKER = ("tests/unit/test_client_tinker.py",)
PRIME = ("tests/unit/test_client_prime_rl.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = LOSS) -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"client/{file}.py", old, new, tests, "entropostat")


CLIENT = (
    fault("averages by tokens where it is by completions", "normaliser", "mask.sum(1).clamp(min=1)).mean()", "mask.sum(1).clamp(min=1)).sum()"),
    fault("divides by the tokens of all", "normaliser", "kept.sum() / mask.sum().clamp(min=1)", "kept.sum() / tokens"),
    fault("takes the width for the longest", "normaliser", "(len(kept) * max_length)", "kept.numel()"),
    fault("reads the prompt", "padding", "row = row[part.generation.starts[place] :]", "row = row[: len(row) - part.generation.starts[place]]"),
    fault("takes the old log-probs of the prompt", "padding", "table[i, : len(row) - start] = row[start:]", "table[i, : len(row) - start] = row[: len(row) - start]"),
    fault("numbers the groups by rows", "padding", "torch.tensor([places[group] for group in groups])", "torch.arange(len(column))", TERMS),
    fault("counts the prompt as length", "padding", "torch.arange(1, mask.size(1) + 1), 0)", "torch.arange(1, mask.size(1) + 1) + 2, 0)"),
    fault("takes a tensor for a group", "padding", 'given.item() if getattr(given, "ndim", None) == 0 else given', "given"),
    fault("learns from an infinite reward", "padding", "kept = usable(rewards)", "kept = rewards"),
    fault("forgets what a part is of", "sample", "return values[list(self.rows)] if values.dim() else values", "return values[: len(self.rows)] if values.dim() else values"),
    fault("forgets the pass", "loss", "iteration=part.iteration", "iteration=0"),
    fault("forgets the seed", "loss", "seed=self.seed, generation=self.generations", "generation=self.generations"),
    fault("shares no loss out", "loss", "return loss / self.accumulate, ", "return loss, "),
    fault("drops the penalties of one number", "phases", "loss, metrics = loss + value, metrics | more", "metrics = metrics | more"),
    fault("counts all tokens in a part", "loss", "* (len(part.rows) / len(whole.mask))", "* 1"),
    fault("moves by a step that was left out", "loss", "        if applied:\n            self.done += 1", "        if True:\n            self.done += 1"),
    fault("moves without a step", "loss", "if measured and self._pending >= self.accumulate:", "if False:"),
    fault("keeps no memory", "phases", "memory, batch = rewarded.memory, batch", "batch = batch"),
    fault("measures a look", "loss", "measured = trains and bool(", "measured = bool("),
    fault("reads the given advantages", "loss", "frozenset(read if self.estimates else", "frozenset(read if not self.estimates else"),
    fault("carries what is lacking", "refusals", "missing = in_loss | before", "missing = in_loss", TERMS),
    fault("carries what is lacking in the loss", "refusals", "missing = in_loss | before", "missing = before", TERMS),
    fault("carries a moving reference", "refusals", "term.moves_reference", "False"),
    fault("carries one policy as two", "refusals", 'term.corrects_sampler and "sampler_logps" not in gives', "False", ("tests/unit/test_client_tinker.py", *TERMS)),
    fault("carries half of the passes", "refusals", "passes % term.passes", "False", LOSS),
    fault("hears what nobody measures", "refusals", "set(knob.controller.signals) - known - metrics", "set()"),
    fault("takes the old for the sampler's", "tinker", '    "logprobs": "sampler_logps",', '    "logprobs": "old_logps",', TINKER),
    fault("forgets the generation", "tinker", "self.loss(seen, logprobs)", "self.loss(self.samples(data), logprobs)", TINKER),
    fault("forgets the mask", "prime_rl", "tokens.masked_fill(~mask, 0.0).sum()", "tokens.sum() + 0 * mask.sum() + (~mask).sum()", PRIME),
    fault("forgets its weights", "prime_rl", "tokens * inputs.loss_weights.unsqueeze(0)", "tokens", PRIME),
    fault("lets statistics of others in", "prime_rl", 'part.term.prepared not in ("never", "micro")', "False", PRIME),
    fault("lets means of their own in", "prime_rl", 'part.term.kind == "scalar"', "False", PRIME),
)  # fmt: skip
