"""Faults of how rows of strangers are found, unpacked and read."""

from __future__ import annotations

from mutation import mutants
from mutation.mutants import Mutant

SHAPES = ("tests/unit/test_row_shapes.py",)
OPTIONS = ("tests/unit/test_row_options.py",)
FILES = ("tests/unit/test_file_source.py",)
HOSTILE = ("tests/security/test_hostile_rows.py",)
PLAN = ("tests/cli/test_plan_rows.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...]) -> Mutant:
    return mutants.fault(name, file, old, new, tests)


CELLS, PROMPTS, ANSWERS, ROWS, TEMPLATE, CHAT, TABLE, PACKED, JSON, TEXT, FOUND, ARROW, CSV = (
    f"entropostat/data/{name}" for name in (
        "cells", "prompts", "answers", "rows", "template", "chat_template", "table", "files/packed", "files/json_list", "json_text",
        "files/found", "files/arrow", "files/separated",
    )
)  # fmt: skip
FAULTS = (
    fault("reaches in before it looks at names", CELLS, "        if name in inside:\n            return inside[name]\n", "", SHAPES),
    fault("reads no JSON in a text", CELLS, "inside = held(inside) if isinstance(inside, str) else inside", "pass", SHAPES),
    fault("takes true for 1", CELLS, 'return "true" if value else "false"', "return str(int(value))", SHAPES),
    fault("takes NaN for an answer", CELLS, "not math.isfinite(value)", "False", SHAPES),
    fault("rounds what is written", CELLS, "return value.text", "return str(float(value))", SHAPES),
    fault("lets half a character in", CELLS, "        text.encode()\n", "        pass\n", HOSTILE),
    fault("shows escapes", CELLS, "visible(name)[:40]", "name[:40]", HOSTILE),
    fault("keeps the answer", PROMPTS, "turns, roles = turns[:-1], roles[:-1]", "pass", SHAPES),
    fault("loses any answer", PROMPTS, "and len(turns) > 1 and whole:", "and len(turns) > 1:", SHAPES),
    fault("shows no picture", PROMPTS, "raise DataError(f\"{where}: {at} has a part of type", "return \"\"\n    raise DataError(f\"{where}: {at} has a part of type", SHAPES),
    fault("forgets calls of tools", PROMPTS, "if any(turn.get(key) for key in CALLS):", "if False:", SHAPES),
    fault("counts nothing", PROMPTS, "notes.add(LOST)", "pass", SHAPES),
    fault("takes the first of several", ANSWERS, 'if len(elements) > 1 and several != "any":', "if False:", SHAPES),
    fault("reads an interval as a list", ANSWERS, "all(isinstance(one, str) for one in found)", "True", SHAPES),
    fault("forgets the other answers", ROWS, "meta[ALTERNATIVES] = list(right[1:])", "pass", SHAPES),
    fault("drops tools", ROWS, "for name in (*MEDIA, *TOOLS):", "for name in MEDIA:", SHAPES),
    fault("drops pictures", ROWS, "for name in (*MEDIA, *TOOLS):", "for name in TOOLS:", SHAPES),
    fault("strips in silence", ROWS, "if (self.strip_prefix or self.strip_suffix) and not", "if False and not", OPTIONS),
    fault("lets the run's system prompt in", ROWS, "asked=text, settled=True", "asked=text", OPTIONS),
    fault("asks what was rendered", ROWS, "asked=text, settled=True", "settled=True", OPTIONS),
    fault("formats", TEMPLATE, 'if odd := re.search(r"[!:\\[\\]]|^\\s|\\s$", inside):', "if odd := None:", OPTIONS),
    fault("leaves the sandbox", CHAT, "ImmutableSandboxedEnvironment(", "__import__('jinja2').Environment(", OPTIONS),
    fault("leaves tokens out", CHAT, "if token := next((token for token in TOKENS if token in asked), None):", "if token := None:", OPTIONS),
    fault("reads on", TABLE, "if count == self.size:", "if False:", FILES),
    fault("unpacks for ever", PACKED, "if self.most is not None and self.given > self.most:", "if False:", HOSTILE),
    fault("reads a line to its end", PACKED, "if len(line) > LONGEST:", "if False:", HOSTILE),
    fault("dies of a damaged file", PACKED, "except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as error:", "except ZeroDivisionError as error:", HOSTILE),
    fault("takes the last of two keys", TEXT, "if len(made) != len(pairs):", "if False:", HOSTILE),
    fault("takes messages for rows", JSON, "isinstance(first, dict) and not is_message(first)", "isinstance(first, dict)", FILES),
    fault("ends where a piece ends", JSON, "                if self.more():\n                    continue\n", "", FILES),
    fault("takes the first of two lists", JSON, "if place is not None and value and isinstance(value[0], dict):", "if False:", HOSTILE),
    fault("keeps the order of the disk", FOUND, "return sorted({file for entry in entries for file in _named(entry, base)})", "return [file for entry in entries for file in _named(entry, base)][::-1]", FILES),
    fault("reads the folder as a pattern", FOUND, "glob.escape(str(folder))", "str(folder)", PLAN),
    fault("believes text", ARROW, "batch.validate(full=True)", "pass", HOSTILE),
    fault("counts no rows", ARROW, "facts.num_rows > max(ROWS, RATIO * size) or", "", HOSTILE),
    fault("fills rows up", CSV, "elif len(cells) != len(names):", "elif False:", HOSTILE),
    fault("plans without looking", "entropostat/recipe/lints/sources", "    yield from source.check(folder)\n", "", PLAN),
    fault("names files of the submitter's folder", "slurm/job", "found = _in_folder(given, recipe.folder)", "found = given", PLAN),
    fault("judges by one answer", "reward/judge", "for one in example.accepted:", "for one in [example]:", SHAPES),
)  # fmt: skip
