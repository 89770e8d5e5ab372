"""Faults of the code that runs inside verl, each in a forked child that has imported verl and none of ours.

python -m in_verl.faults NAME ...       one JSON object a fault, as tests/mutation/driver.py prints; without a name, all
"""

from __future__ import annotations

import json
import os
import sys

import verl.workers.utils.losses
import verl.workers.utils.padding  # noqa: F401
from mutation.driver import run
from mutation.mutants import ROOT, Mutant

PARITY, DRIVER = "tests/in_verl/test_parity.py", "tests/in_verl/test_driver.py"


def fault(name: str, file: str, old: str, new: str, *tests: str) -> Mutant:
    return Mutant(f"{file} {name}", f"verl/{file}.py", old, new, tests or (PARITY, DRIVER), "entropostat")


FAULTS = {
    mutant.name: mutant
    for mutant in (
        fault("forgets the ranks", "actor_loss", 'whole = {"dp_size": ranks,', 'whole = {"dp_size": 2 * ranks,'),
        fault("divides by its own tokens", "actor_loss", "logps.new_tensor(tokens / ranks)", "mask.sum()"),
        fault("takes another mean", "actor_loss", "agg_loss(x, valid, self.mode,", 'agg_loss(x, valid, "token-mean",'),
        fault("takes tools for the policy", "actor_loss", 'mask, found = padded["response_mask"].to(logps.dtype), stats_of(padded)', 'mask, found = torch.ones_like(logps), stats_of(padded)'),
        fault("drops the gradient of entropy", "actor_loss", "data).to(logps.dtype), 0.0)", "data).to(logps.dtype).detach(), 0.0)"),
        fault("swaps reference and old", "fields", '"ref_logps": "ref_log_prob"', '"ref_logps": "old_log_probs"'),
        fault("forgets the statistics", "actor_loss", "stats = self._stats(found, told, logps)", "stats = {}"),
        fault("forgets the knobs", "actor_loss", 'self.control.objective(told["knobs"])', "self.control.template"),
        fault("sees a part of the generation", "driver", "if not added), key", "if not added and i % 4), key"),
        fault("trains what fills up a batch", "driver", "for i, added in enumerate(padding) if not added", "for i, _ in enumerate(padding)"),
        fault("follows places", "driver", "key=lambda i: keys[i]", "key=lambda i: i"),
        fault("numbers by places", "driver", "enumerate(sorted(keys))", "enumerate(keys)"),
        fault("scatters to the wrong rows", "driver", "whole[real] = values", "whole[: len(real)] = values"),
        fault("mixes the groups", "driver", "places[names[i]] for i in real", "0 for i in real"),
        fault("moves by a step that was left out", "driver", "if math.isfinite(grad_norm):", "if True:"),
        fault("adds up means", "reported", "signals = {name: quotient(total, rows if", "signals = {name: total or quotient(total, rows if"),
        fault("spells out what verl reduces", "reported", 'slash + name.replace("m", "~")', "slash + name"),
        fault("hides the largest from verl", "reported", "kind if kind + slash == TOP else ", ""),
        fault("takes the smallest for the largest", "reported", "else -value.double()", "else value.double()"),
        fault("takes the second token's", "fields", "padded[name][:, 0]", "padded[name][:, -1]"),
    )
}  # fmt: skip

if __name__ == "__main__":
    os.chdir(ROOT)
    for wanted in sys.argv[1:] or FAULTS:
        print(json.dumps(run(FAULTS[wanted])), flush=True)
