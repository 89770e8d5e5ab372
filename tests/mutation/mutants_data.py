"""Faults of what is trained on: which rows are kept, in which proportions and order, and who holds them."""

from __future__ import annotations

from mutation.mutants import Mutant, fault

WHERE = ("tests/unit/test_data_where.py",)
FILTERS = ("tests/unit/test_data_filters.py", "tests/unit/test_data_split.py")
MIXTURE = ("tests/unit/test_data_mixture.py", "tests/unit/test_data_curriculum.py")
TABLE = ("tests/unit/test_prompt_table.py",)
RESERVE = ("tests/unit/test_rl_stream.py",)
MACHINES = ("tests/unit/test_on_each_machine.py",)


def kept(name: str, old: str, new: str) -> Mutant:
    return fault(name, "entropostat/data/kept", old, new, FILTERS)


def prepare(name: str, old: str, new: str) -> Mutant:
    return fault(name, "entropostat/data/prepare", old, new, FILTERS)


DATA = (
    fault("takes a number for a text", "entropostat/data/where", "return same and given == wanted", "return given == wanted", WHERE),
    fault("leaves the upper end out", "entropostat/data/where", "low <= given <= high", "low <= given < high", WHERE),
    fault("lets one condition do", "entropostat/data/where", "holds = all(", "holds = any(", WHERE),
    fault("asks for what is missing", "entropostat/data/where", 'missing(given) == wanted["missing"]', 'missing(given) != wanted["missing"]', WHERE),
    fault("reads an answer before it asks", "entropostat/data/table", "            if where.takes(row):\n                yield to_example(row, columns, here, count, notes)", "            example = to_example(row, columns, here, count, notes)\n            if where.takes(row):\n                yield example", WHERE),
    kept("keeps the last of equal prompts", "order = np.lexsort((places, answers == 0, group))", "order = np.lexsort((-places, answers == 0, group))"),
    kept("keeps one without an answer", "np.lexsort((places, answers == 0, group))", "np.lexsort((places, group))"),
    kept("trusts contradictions", "(high > low)[group]", "(high < low)[group]"),
    kept("contradicts itself by nothing", "given = answers != 0", "given = answers >= 0"),
    kept("compares last words", "self.prompt[places], return_inverse", "self.asked[places], return_inverse"),
    kept("counts a row twice", "self.reason[mask & self.alive] = 1", "self.reason[mask] = 1"),
    kept("evaluates a prompt twice", "np.setdiff1d(places, places[first])", "places[:0]"),
    prepare("measures what is dropped", "_drafted(draft, kept.alive)", "_drafted(draft, kept.alive | True)"),
    prepare("drops the longest that fits", "np.asarray(tokens) > rules", "np.asarray(tokens) >= rules"),
    prepare("trains on the benchmark", "    kept.asked_in(tested)\n", ""),
    prepare("trains on what it evaluates", "k.alive & ~k.held)", "k.alive)"),
    prepare("holds nothing out", "                draft.marks.add(example, share)", "                draft.marks.add(example, 0.0)"),
    prepare("loses count of where", "(draft.where + Counter(counts))", "Counter(counts)"),
    prepare("writes a chunk's rows under another's places", "yield places + first,", "yield places,"),
    fault("draws by chance", "entropostat/data/mixture", "max(shares, key=lambda name: shares[name] * done - drawn[name])", "rng.choices(list(shares), list(shares.values()))[0]", MIXTURE),
    fault("gives each rank a source", "entropostat/data/mixture", "        rng.shuffle(names)\n", "", MIXTURE),
    fault("forgets the weights", "entropostat/data/curriculum", "    if weights is None:\n        rows", "    if True:\n        rows", MIXTURE),
    fault("repeats a shuffle", "entropostat/data/curriculum", "        rng.shuffle(order)\n", "        Random(0).shuffle(order)\n", MIXTURE),
    fault("leaves its files", "trainers/prompts", "weakref.finalize(table,", "weakref.finalize(lock,", TABLE),
    fault("leaves what was begun", "trainers/prompts", "            _remove(folder, lock, os.getpid())\n            raise", "            raise", TABLE),
    fault("takes away what another reads", "trainers/prompts", "with contextlib.suppress(*KEPT), FileLock(left / OWNER, timeout=0):", "if True:", TABLE),
    fault("asks for the other sources", "trainers/rollout/reserve", "np.isin(of,", "~np.isin(of,", RESERVE),
    fault("asks where a prompt stands last", "trainers/rollout/reserve", "places = np.sort(first)", "places = np.sort(len(keys) - 1 - first)", RESERVE),
    fault("opens another machine's folder", "trainers/ranks", "first = state.process_index - state.local_process_index", "first = 0", MACHINES),
    fault("reads on every process", "trainers/ranks", "if state.local_process_index == 0:", "if True:", MACHINES),
    fault("goes on where another failed", "trainers/ranks", "    for _, message in boxes:\n        if message is not None:\n", "    for _, message in boxes:\n        if False:\n", MACHINES),
)  # fmt: skip
