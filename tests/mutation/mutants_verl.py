"""Faults of what is told of verl without verl: something carried that is not, another loss in TRL's place."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

PLUGIN = ("tests/unit/test_verl_plugin.py",)
CARRIES = ("tests/unit/test_verl_carries.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = CARRIES) -> Mutant:
    return Mutant(f"verl {stem(file)} {name}", f"verl/{file}.py", old, new, tests, "entropostat")


VERL = (
    fault("carries what is lacking", "carries", "missing = read_by(slot, term) - (DRIVER | WORKER)", "missing = frozenset[str]()"),
    fault("carries a moving reference", "carries", 'in ("ema", "reset")', "in ()"),
    fault("carries half of the passes", "carries", 'in ("low_first", "high_first")', "in ()"),
    fault("carries a mean of micro-batches", "carries", 'option(term, slot, "reduction") == "trl"', "False"),
    fault("carries any normaliser", "carries", 'slot == "loss" and option(term, slot, "type") not in AGGREGATION', "False"),
    fault("hears the reference's entropy", "carries", "if signal in REF_ENTROPY:", "if False:"),
    fault("hears what nobody measures", "carries", "signal not in SIGNALS and signal not in metrics", "False"),
    fault("carries another optimizer", "carries", "recipe.optimizer.muon is not None", "False"),
    fault("carries a critic", "carries", 'recipe.kind != "grpo"', "False"),
    fault("takes the cap for its distance", "own_losses", '"epsilon_high": cap - 1}', '"epsilon_high": cap}'),
    fault("swaps the gates", "own_losses", '"tau_pos": given("sapo_temperature_pos")', '"tau_pos": given("sapo_temperature_neg")'),
    fault("forgets the cap", "own_losses", '"dual": delta, ', ""),
    fault("caps within the clip", "own_losses", "delta < 1 + high", "False"),
    fault("takes a sequence for tokens", "own_losses", '== "sequence"', '== "sentence"'),
    fault("lets verl look for TRL", "plugin", "asked() and _has_value_heads()", "asked()", PLUGIN),
    fault("waits for what is there", "plugin", "if (module := sys.modules.get(name)) is not None:", "if False:", PLUGIN),
    fault("registers twice", "plugin", "if any(isinstance(finder, _Finder) for finder in sys.meta_path):", "if False:", PLUGIN),
    fault("fails without a word", "plugin", "        _stand_in(module, error)\n", "        pass\n", PLUGIN),
)  # fmt: skip
