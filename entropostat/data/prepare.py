"""Sources -> the table of a run, in two passes: memory holds a few numbers for each row, and a thousand rows.

read    every source into a draft, with the hashes by which rows are dropped and held out (kept.py)
write   what is kept: prompts to train on, source by source; those held out; the sets of the evaluation
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from entropostat.data.dataset import FACTS, ROWS, Table, with_system
from entropostat.data.dropped import WORDS, Dropped
from entropostat.data.example import DataError, Example, Prompt
from entropostat.data.kept import Kept, Marks, Rules, hashed
from entropostat.data.registry import Source
from entropostat.visible import shorten

if TYPE_CHECKING:
    from numpy.typing import NDArray

CHUNK = 1000
"""Rows that are held at a time."""
Lengths = Callable[[list[Prompt]], list[int]]
"""Tokens of each prompt, as the policy is asked it."""
KINDS = {True: "text", False: "messages"}


@dataclass
class Draft:
    """A source as it was read: prompts as JSON, so that what they have in common is known before any column is made."""

    name: str
    file: Path
    marks: Marks
    where: Counter[str]
    kinds: dict[bool, str]
    """Is the prompt a text -> id of the first such."""
    types: list[Any]
    """Of pyarrow: the prompts of each chunk."""


Member = tuple[str, Draft, "NDArray[Any]"]
"""A source, its draft, and a mask of the rows that are written."""
Ends = dict[str, dict[str, tuple[str, int, int]]]
"""Side -> source -> file, first row, and the row after its last."""


def prepare(
    folder: Path,
    sources: Mapping[str, Source],
    sets: Mapping[str, Source],
    rules: Rules,
    *,
    system: str | None = None,
    base: Path | None = None,
    lengths: Lengths | None = None,
) -> Table:
    """Fill the empty ``folder``. ``lengths`` is needed, and called, where ``rules.max_prompt_tokens`` is given. Raises DataError."""
    tests = [_read(folder, f"evaluate.sets.{name}", s, 0.0, system, base) for name, s in sets.items()]
    drafts = [_read(folder, f"data.sources.{name}", s, rules.held_out, system, base) for name, s in sources.items()]
    for together in (drafts, *([test] for test in tests)):
        _alike(together)
    tested = {asked for draft in tests for asked in draft.marks.asked}
    kept = [_kept(d, s, rules, tested, lengths) for d, s in zip(drafts, sources.values(), strict=True)]
    dropped = [_told(name, draft, k, rules) for name, draft, k in zip(sources, drafts, kept, strict=True)]
    sides: dict[str, list[Member]] = {
        "train": [(n, d, k.alive & ~k.held) for n, d, k in zip(sources, drafts, kept, strict=True)],
        "held_out": [(n, d, k.alive & k.held) for n, d, k in zip(sources, drafts, kept, strict=True)],
    }
    ends = _write(folder / ROWS, sides) | {"sets": {}}
    for number, (name, test) in enumerate(zip(sets, tests, strict=True)):  # a set may ask in another form
        member = (name, test, Kept(test.marks).alive)
        ends["sets"] |= _write(folder / f"set-{number}.arrow", {"set": [member]})["set"]
    digest = hashlib.blake2b(digest_size=16)
    for draft, k in zip(drafts, kept, strict=True):
        for column in (draft.marks.prompt, draft.marks.answer, k.reason):
            digest.update(column.tobytes())
    facts = {**ends, "dropped": [asdict(d) for d in dropped], "digest": digest.hexdigest()}
    (folder / FACTS).write_text(json.dumps(facts))
    for draft in (*drafts, *tests):
        draft.file.unlink()
    return Table(folder)


# ------------------------------------------------------------------------------------------------------------ read


def _read(folder: Path, key: str, source: Source, share: float, system: str | None, base: Path | None) -> Draft:
    import pyarrow as pa  # type: ignore[import-untyped]

    draft = Draft(key, folder / f"{hashed(key):x}.draft", Marks(), Counter(), {}, [])
    schema = pa.schema([(name, pa.string()) for name in ("prompt", "answer", "meta", "id")])
    rows = source.rows(base, draft.where)
    with pa.OSFile(str(draft.file), "wb") as file, pa.ipc.new_stream(file, schema) as stream:
        for part in _chunks(rows):
            shaped = [with_system(example, system) for example in part]
            for example in shaped:
                draft.kinds.setdefault(isinstance(example.prompt, str), example.id)
                draft.marks.add(example, share)
            try:
                draft.types.append(pa.infer_type([_plain(e.prompt) for e in shaped]))
                columns = [json.dumps(_plain(e.prompt)) for e in shaped], *_texts(shaped)
                stream.write_batch(pa.record_batch([pa.array(c, pa.string()) for c in columns], schema=schema))
            except (pa.ArrowException, UnicodeError, TypeError) as error:
                raise DataError(
                    f"{key}: rows {shaped[0].id} to {shaped[-1].id} make no column: {shorten(str(error), 200)}; prompts and "
                    "answers are text, or messages of text that all have the same form"
                ) from error
    return draft


def _chunks(rows: Iterable[Any]) -> Iterator[list[Any]]:
    rows = iter(rows)
    while part := list(islice(rows, CHUNK)):
        yield part


def _plain(prompt: Prompt) -> Any:
    return prompt if isinstance(prompt, str) else [dict(message) for message in prompt]


def _texts(examples: list[Example]) -> tuple[list[Any], ...]:
    return (
        [e.answer for e in examples],
        [json.dumps(dict(e.meta)) for e in examples],
        [e.id for e in examples],
    )


def _alike(drafts: list[Draft]) -> None:
    """A table asks texts, or it asks conversations: a trainer's batch is one of both, by its first prompt."""
    found = {kind: f"{d.name} ({first})" for d in drafts for kind, first in d.kinds.items()}
    if len(found) > 1:
        said = " and ".join(f"{place} asks {KINDS[kind]}" for kind, place in found.items())
        raise DataError(
            f"data.sources: {said}; set data.system, '' for none, which makes conversations of all of them, or give every source a "
            "chat_template"
        )


# ----------------------------------------------------------------------------------------------------------- choose


def _kept(draft: Draft, source: Source, rules: Rules, tested: set[int], lengths: Lengths | None) -> Kept:
    import numpy as np

    kept = Kept(draft.marks)
    if rules.missing_answer == "drop":
        kept.without_answer()
    if rules.duplicates == "drop":
        kept.repeated(source.one_answer)
    if rules.max_prompt_tokens is not None:
        assert lengths is not None
        long = np.zeros_like(kept.alive)
        for place, rows in _drafted(draft, kept.alive):
            tokens = lengths([json.loads(row["prompt"]) for row in rows])
            long[place[np.asarray(tokens) > rules.max_prompt_tokens]] = True
        kept.drop(long, "too_long")
    kept.asked_in(tested)
    kept.repeated_held_out()
    return kept


def _told(name: str, draft: Draft, kept: Kept, rules: Rules) -> Dropped:
    """Raises where nothing is left."""
    counts = kept.counts()
    reasons = {reason: (draft.where + Counter(counts))[reason] for reason in WORDS}
    train, held = (int((kept.alive & side).sum()) for side in (~kept.held, kept.held))
    told = Dropped(
        name, len(kept.held) + draft.where.total(), train, held, {reason: n for reason, n in reasons.items() if n}
    )
    lost = "; dropped: " + ", ".join(f"{n} {WORDS[r]}" for r, n in told.reasons.items()) if told.reasons else ""
    fix = "ease what drops them" if told.reasons else "lower data.held_out or add prompts"
    if not train:
        raise DataError(f"data.sources.{name}: no prompt is left to train on{lost}; {fix}")
    if rules.held_out > 0 and not held:
        raise DataError(
            f"data.sources.{name}: none of its {train} prompts is held out{lost}; raise data.held_out ({rules.held_out:g}) "
            "or add prompts"
        )
    return told


def _drafted(draft: Draft, mask: NDArray[Any]) -> Iterator[tuple[NDArray[Any], list[dict[str, Any]]]]:
    """(places, rows) of those under ``mask``, chunk by chunk."""
    import numpy as np
    import pyarrow as pa

    first = 0
    with pa.memory_map(str(draft.file)) as file, pa.ipc.open_stream(file) as stream:
        for batch in stream:
            places = np.flatnonzero(mask[first : first + batch.num_rows])
            if len(places):
                yield places + first, batch.take(pa.array(places)).to_pylist()
            first += batch.num_rows


# ------------------------------------------------------------------------------------------------------------ write


def _write(file: Path, sides: Mapping[str, list[Member]]) -> Ends:
    """The rows of one side after those of the other."""
    import pyarrow as pa

    types = [kind for side in sides.values() for _, draft, _ in side for kind in draft.types]
    try:
        prompts = pa.unify_schemas([pa.schema([("prompt", kind)]) for kind in types], promote_options="permissive")
    except pa.ArrowException as error:
        raise DataError(
            f"data.sources: messages of one prompt do not have the form of another's: {shorten(str(error), 200)}; give all "
            "the same keys, with the same types"
        ) from error
    schema = pa.schema([*prompts, *((name, pa.string()) for name in ("answer", "meta", "source", "id"))])
    ends: Ends = {}
    written = 0
    with pa.OSFile(str(file), "wb") as out, pa.ipc.new_stream(out, schema) as stream:
        for side, members in sides.items():
            ends[side] = {}
            for name, draft, mask in members:
                first = written
                for _, rows in _drafted(draft, mask):
                    for row in rows:
                        row |= {"prompt": json.loads(row["prompt"]), "source": name}
                    stream.write_batch(pa.RecordBatch.from_pylist(rows, schema=schema))
                    written += len(rows)
                ends[side][name] = (file.name, first, written)
    return ends
