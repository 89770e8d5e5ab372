"""Faults of what keeps the cost near stock TRL's: the backward pass of its head over the pushed tokens alone."""

from __future__ import annotations

from mutation.mutants import fault

GRADIENT = ("tests/unit/test_rl_vocab_gradient.py",)
HEAD = ("tests/contract/test_head_gradient.py",)
PATH = "trainers/model/head_gradient"

COST = (
    fault("turns the entropy's slope", "rl/vocab_gradient", "        b = -h", "        b = 1 * h", GRADIENT),
    fault("forgets the entropy itself", "rl/vocab_gradient", "torch.addcmul(-g, b, entropy)", "-g", GRADIENT),
    fault("takes any tile's label", "rl/vocab_gradient", "self.g * inside", "self.g", GRADIENT),
    fault("forgets the scale", "rl/vocab_gradient", "else (a * factor, b * factor, g * factor)", "else (a, b, g)", GRADIENT),
    fault("forgets the cap's slope", "rl/vocab_gradient", "else d.mul_(by_head)", "else d", GRADIENT),
    fault("leaves the entropy's tokens out", "rl/vocab_gradient", "self.table[2:].any(0)", "self.table[2].bool()", (*GRADIENT, *HEAD)),
    fault("forgets the bias", "rl/vocab_gradient", "d_bias[columns] += d.sum(0)", "pass", GRADIENT),
    fault("pushes every token", PATH, "rows = everything.pushed()", "rows = torch.arange(len(hidden))", HEAD),
    fault("puts tokens in the wrong place", PATH, "index_copy_(0, rows, of_hidden)", "index_copy_(0, rows.flip(0), of_hidden)", HEAD),
    fault("forgets the temperature", PATH, '1 / form["inv_t"]', "1.0", HEAD),
    fault("forgets the cap", PATH, 'form["softcap"] if form["HAS_SOFTCAP"] else None', "None", HEAD),
    fault("makes the gradient of a frozen head", PATH, "ctx.needs_input_grad[:3]", "(True, True, True)", HEAD),
    fault("is never taken", PATH, "if not wanted or theirs", "if True or theirs", HEAD),
    fault("is taken without terms", PATH, "    return bool(objective.weights", "    return True or bool(objective.weights", HEAD),
    fault("stays behind", PATH, "    finally:\n        setattr(utils, NAME, theirs)", "    finally:\n        pass", HEAD),
    fault("replaces another head", PATH, "theirs is not ChunkedLogProbFunction", "False", HEAD),
)  # fmt: skip
