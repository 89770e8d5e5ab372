"""Faults of where completions end, and of what evaluation applies because training does."""

from __future__ import annotations

from mutation.mutants import Mutant, stem

STOPS = ("tests/contract/test_stops.py",)
DECODING = ("tests/contract/test_decoding.py",)
ROLLOUTS = ("tests/contract/test_rollout_functions.py",)
RULES = ("tests/unit/test_generation_rules.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...], folder: str = "trainers") -> Mutant:
    return Mutant(f"{stem(file)} {name}", f"{file}.py", old, new, tests, folder)


def rule(name: str, file: str, old: str, new: str) -> Mutant:
    return fault(name, file, old, new, RULES, "entropostat/recipe")


DECODED = (
    fault("masks by the old ends", "trl/decoding", "trainer.eos_token_ids = together(own, *asked, ", "together(own, *asked, ", STOPS),
    fault("forgets generation_kwargs' ends", "trl/decoding", "together(own, *asked, ", "together(own, ", STOPS),
    fault("generates past the ends", "trl/decoding", 'trainer.generation_config.eos_token_id = trainer.generation_kwargs["eos', 'trainer.generation_kwargs["eos', STOPS),
    fault("keeps the ends from vLLM", "trl/decoding", '"stop_token_ids": trainer.eos_token_ids}', '"stop_token_ids": own}', STOPS),
    fault("evaluates past the ends", "evaluation/draws", "end_tokens(model, tokenizer, settings.stop)", "end_tokens(model, tokenizer)", STOPS),
    fault("evaluates beside the ends", "evaluation/generation", "end_tokens(model, tokenizer, stop),", "end_tokens(model, tokenizer),", STOPS),
    fault("calls every end of ours cut off", "trl/described", "[*trainer.eos_token_ids, trainer._tok", "[trainer.eos_token_ids[0], trainer._tok", STOPS),
    fault("forgets the name of a token", "trl/stops", "for candidate in (named, ", "for candidate in (None, ", ("tests/unit/test_stop_tokens.py",)),
    fault("takes what reads otherwise", "trl/stops", "if candidate is not None and", "if candidate is not None or", ("tests/unit/test_stop_tokens.py",)),
    fault("evaluates the policy unbent", "evaluation/draws", "do_sample=True, **sampled, **both", "do_sample=True, **sampled", DECODING),
    fault("is greedy unbent", "evaluation/draws", "do_sample=False, **both", "do_sample=False", DECODING),
    fault("overlooks the model's own keys", "trl/decoding", 'own if by == "transformers" else None\n', "None\n", DECODING),
    fault("leaves min_p to the model", "trl/decoding", 'if name == "min_p":', "if False:", DECODING),
    fault("says nothing of what biases", "trl/decoding", "_warn(bias, values, own, by)", "None", DECODING),
    fault("lets a temperature contradict another", "trl/decoding", "value not in allowed", "False", DECODING),
    fault("lets the model's config break the run", "trl/decoding", 'elif key.kind == "breaks"', 'elif False', DECODING),
    fault("lets the temperature pass by a rollout function", "rollout/rollouts", 'template.scalar("temperature") is not None', "False", ROLLOUTS),
    fault("lets a second rollout pass by a rollout function", "rollout/rollouts", "(part is not None or template", "(template", ROLLOUTS),
    fault("sees no images", "rollout/rollouts", "part is not None and trainer._is_vlm", "part is not None and not trainer._is_vlm", ROLLOUTS),
    rule("lets beams' keys act alone", "generation_rules", "if not key.beside or", "if True or"),
    rule("takes keys that nobody knows", "generation_rules", "return _unknown(name, said, by)", "return None"),
    rule("takes keys that have their own place", "generation_rules", 'key.kind in ("elsewhere", "stop") and key.acts', 'key.kind == "elsewhere" and key.acts'),
    rule("warns of what is off", "generation_rules", 'key.kind != "distribution" or not key.acts(value)', 'key.kind != "distribution"'),
)  # fmt: skip
