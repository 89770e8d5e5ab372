"""Faults of how references are tried on their verifiers, of what stops a run, and of what `entropostat data` counts and shows."""

from __future__ import annotations

from mutation.mutants import Mutant, fault

READ = ("tests/unit/test_references.py",)
SPELLED = ("tests/unit/test_pattern_text.py",)
SURVEY = ("tests/unit/test_survey.py",)
COMMAND = ("tests/cli/test_data_command.py",)
ASKED = ("tests/contract/test_asked.py",)
ANSWERS = ("tests/unit/test_reward_answers.py",)
REFERENCES, FORMS, DOUBTS = "reward/references", "reward/forms", "reward/doubts"

FAULTS: tuple[Mutant, ...] = (
    fault("allows less than is allowed", REFERENCES, "r.share > most", "r.share >= most", READ),
    fault("never stops", REFERENCES, "if worst is None:", "if True:", READ),
    fault("counts references and not rows", REFERENCES, "unread += len(group)", "unread += 1", READ),
    fault("calls silence wrong", REFERENCES, "                silent += len(group)\n                continue", "                silent += len(group)", READ),
    fault("tries one form", REFERENCES, "and depth < len(forms[place])", "and depth < 1", READ),
    fault("tries whatever it was told not to", REFERENCES, "not verifier.compares:\n            continue\n        given", "False:\n            continue\n        given", READ),
    fault("leaves rows to nobody", REFERENCES, "reading.share >= HALF and at_home and any(", "reading.share >= HALF and any(", READ),
    fault("leaves nothing to others", REFERENCES, "left=_left(reading, readings)", "left=False", READ),
    fault("tries sets on every verifier", REFERENCES, "if scorer.judge(named(key)) == name}", "}", READ),
    fault("takes the first rows", REFERENCES, "spread(list(alike.values()), most)", "list(alike.values())[:most]", READ),
    fault("looks at no clock", REFERENCES, "if begin and time.monotonic() > until:", "if False:", READ),
    fault("waits as long as the verifier", REFERENCES, "min(verifier.timeout, PATIENCE)", "min(verifier.timeout, 5)", READ),
    fault("calls every verifier silent", REFERENCES, "or not examples or any(one.answer is not None for one in examples):", "or not examples:", READ),
    fault("hears no prompt", FORMS, "named = asked(example)", "named = ()", READ),
    fault("hears no system message", FORMS, '"\\n".join(message["content"] for message in prompt)', 'prompt[-1]["content"]', READ),
    fault("forgets to think", FORMS, 'THOUGHT + text if thinking == "required" else text', "text", READ),
    fault("spells patterns that the prompt contradicts", FORMS, "not named or any(sign in pattern for form in named for sign in SIGNS[form])", "True", READ),
    fault("repeats whole solutions", FORMS, "boxed(answer) or marked(answer) or answer.strip()", "answer.strip()", READ),
    fault("is content with a draw", DOUBTS, "best <= other", "best < other", READ),
    fault("hides what fails", DOUBTS, "if len(errors) == len(outcomes):", "if False:", READ),
    fault("leaves the answer out", "reward/pattern_text", "self.answer if given[0] == 1 else", "", SPELLED),
    fault("takes the first branch", "reward/pattern_text", "part for part in given[1] if _holds_answer(part)", "part for part in given[1]", SPELLED),
    fault("looks behind what it must find", "reward/pattern_text", "if given[0] < 0 or last else", "if last else", SPELLED),
    fault("reads past the block", "reward/answers", "return inside if end and tag and inside.strip() else text", "return text", ANSWERS),
    fault("counts prompts that are alone", "entropostat/data/survey", "len(places[text]) > 1", "len(places[text]) > 0", SURVEY),
    fault("takes signs for punctuation", "entropostat/data/survey", r"[^\w+\-*/=<>^|\\]", r"[^\w]", SURVEY),
    fault("moves the quantiles", "entropostat/data/lengths", "math.ceil(share * len(ranked)) - 1", "int(share * len(ranked)) - 1", SURVEY),
    fault("asks without the generation prompt", "trainers/trl/asked", "add_generation_prompt=True", "add_generation_prompt=False", ASKED),
    fault("forgets the template's options", "trainers/trl/asked", "**(template_options or {})", "**{}", ASKED),
    fault("shows another order", "entropostat/recipe/prompts", 'seed=recipe.seed', 'seed=7', ASKED),
    fault("lets all pass", "trainers/references", "if found.problem is not None:", "if False:", COMMAND),
    fault("looks at what is switched off", "trainers/references", "if recipe.data.unread is None:", "if False:", COMMAND),
    fault("comes too late", "trainers/run", "    on_all_ranks(check_references, recipe, scorer, prompts)\n", "", COMMAND),
    fault("calls the user's code unasked", "entropostat/cli/data", "if verifier.user_code is not None and not allow_code:", "if False:", COMMAND),
    fault("shows secrets", "entropostat/cli/data", "return None if value is None else redacted(value)", "return value", COMMAND),
    fault("sends what is in the data to the terminal", "entropostat/cli/data_text", "[visible(line) for part in", "[line for part in", COMMAND),
    fault("waits for a dead Hub", "trainers/build/recipe_tokenizer", '{} if known else {"local_files_only": True}', "{}", COMMAND),
)  # fmt: skip
