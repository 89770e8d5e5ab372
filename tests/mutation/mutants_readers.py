"""Faults of what reads a run back: shapes, links, pipes, limits of time and of threads, and what reaches the terminal."""

from __future__ import annotations

from mutation.mutants import Mutant

LOGS = ("tests/security/test_hostile_logs.py",)
TRACKERS = ("tests/security/test_hostile_trackers.py",)
RECIPES = ("tests/security/test_hostile_recipes.py",)
WATCH = ("tests/security/test_watch.py",)


def fault(name: str, file: str, old: str, new: str, tests: tuple[str, ...] = LOGS) -> Mutant:
    return Mutant(f"readers {file} {name}", f"{file}.py", old, new, tests, "entropostat")


READERS = (
    fault("waits for a pipe's writer", "regular", " | os.O_NONBLOCK", ""),
    fault("reads a device", "regular", "if not stat.S_ISREG(", "if False and not stat.S_ISREG("),
    fault("follows a link out", "regular", "if within is not None and", "if False and within is not None and"),
    fault("prints escapes", "visible", 'match[0].encode("unicode_escape").decode()', "match[0]"),
    fault("takes true for 1", "readers/rows", "(kind is float or kind is int)", "isinstance(value, int | float)"),
    fault("takes text for a step", "readers/values", "return int(value) if is_number(value) and", "return int(value) if"),
    fault("takes any step", "readers/values", "LAST_STEP = 2**32 - 1", "LAST_STEP = 2**63"),
    fault("keeps what overflows", "readers/values", "LARGEST = 3e38", "LARGEST = 1.7e308"),
    fault("counts nothing", "readers/damage", "self._counts[kind] += 1", "pass"),
    fault("keeps the order of the file", "readers/rows", "return in_order(lines)", "return lines"),
    fault("takes nothing for 0", "readers/rows", "made[known] = None", "made[known] = 0.0"),
    fault("dies of a deep line", "readers/lines", "except RecursionError:", "except ZeroDivisionError:"),
    fault("follows a growing file", "readers/lines", "os.fstat(stream.fileno()).st_size, 0", "1 << 62, 0"),
    fault("loads deep YAML", "yaml_text", "if depth > DEPTH:", "if False:", RECIPES),
    fault("unfolds aliases", "yaml_text", "self.values < 0 or ", "", RECIPES),
    fault("dies of a wrong fact", "readers/facts", "made = shape(given)", "made = given"),
    fault("lets NaN into JSON", "strict_json", "if math.isfinite(value) else None", ""),
    fault("overwrites through a link", "cli/report", "write_whole(beside(paths), text)", "beside(paths).write_text(text)"),
    fault("lets a name end the advice", "diagnose/advice", "return name if WORD.fullmatch(name) else json.dumps(name)", "return name"),
    fault("reads dollars as formulas", "compare/figure", 'matplotlib.rcParams["text.parse_math"] = False', "pass"),
    fault("takes ² for a number", "diagnose/held_out", "k.isdecimal() and k.isascii()", "k.isdigit()"),
    fault("searches unsorted steps", "diagnose/log", "order = np.argsort(steps, kind=\"stable\")", "order = np.arange(len(steps))", ("tests/unit/test_diagnose.py",)),
    fault("reads a view", "readers/trackio_db", 'kind[0] != "table" or not kind[1] or', "", TRACKERS),
    fault("reads a view of another case", "readers/trackio_db", "lower(name)", "name", TRACKERS),
    fault("reads for ever", "readers/trackio_db", "database.set_progress_handler(", "(lambda *words: None)(", TRACKERS),
    fault("dies of a row that is a list", "readers/trackio_db", "if isinstance(row, dict):", "if row is not None:", TRACKERS),
    fault("dies of text that is no UTF-8", "readers/trackio_db", 'raw.decode("utf-8", "replace")', "raw.decode()", TRACKERS),
    fault("ends at a damaged chunk", "readers/wandb_file", "torn, at, parts = torn or at, at + left, []\n            continue", "return", TRACKERS),
    fault("says nothing of a damaged chunk", "readers/wandb_file", "if torn:", "if False:", TRACKERS),
    fault("dies of a value that is no JSON", "readers/wandb_file", "except (ValueError, RecursionError):", "except ZeroDivisionError:", TRACKERS),
    fault("waits for ever", "report/serve", "timeout = IDLE", "timeout = None", WATCH),
    fault("lets a client drip", "report/serve", "if time.monotonic() - begun > LONGEST", "if False", WATCH),
    fault("lets a crowd in", "report/serve", "full = len(self._open) >= THREADS", "full = False", WATCH),
    fault("never lets go", "report/serve", "self._open.pop(request, None)", "pass", WATCH),
    fault("tells of a client that leaves", "report/serve", "if not isinstance(error, OSError):", "if True:", WATCH),
)  # fmt: skip
