"""Run folders that a fault, a kill or an attacker left behind, for hypothesis to draw from."""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from entropostat.__main__ import main
from support.synthetic_runs import RECIPE, rows

ESCAPE = "\x1b[2J\x1b]0;owned\x07"
KEYS = (
    *("entropy", "entropy/p50", "entropy/p90", "kl", "reward", "loss", "grad_norm", "learning_rate"),
    *("evaluate/hard/pass@1", "evaluate/hard/pass@4", "evaluate/hard/pass@²", "evaluate/hard/pass@x", "evaluate/"),
    *("evaluate/hard/share/a", "evaluate/hard/accuracy/a", "evaluate//pass@1", "frac_reward_zero_std"),
    *(
        f"control/penalties.kl_ref.coef/{part}"
        for part in ("output", "target", "signal", "smoothed", "saturated", "error")
    ),
    *(
        "control/x/output",
        "control//output",
        "control/a: {b}.c d./saturated",
        "forces/kl_ref/share",
        "forces/kl_ref/entropy",
    ),
    *(
        "health/trained_tokens",
        "health/nonfinite",
        "trust/sampler_gap",
        "completions/mean_length",
        "completions/max_length",
    ),
    *(
        "train/entropy",
        "step",
        "epoch",
        "",
        "a" * 5000,
        "$\\frac$",
        "_hidden",
        ESCAPE,
        "a\nb\r\tc",
        "\ud800",
        "\u202eabc",
    ),
)
NUMBERS = st.one_of(
    st.floats(allow_nan=True, allow_infinity=True),
    st.sampled_from([0, 1, -1, 0.5, 1e308, -1e308, 5e-324, 3e38, 10**400, -(10**400), 2**53, 2**63, 2**64]),
    st.integers(-5, 200),
)
ODD = st.recursive(
    st.one_of(
        st.none(), st.booleans(), NUMBERS, st.text(max_size=8), st.sampled_from([ESCAPE, "\ud800", "1e5", "NaN"])
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)),
    max_leaves=6,
)
STEPS = st.one_of(st.integers(0, 100), st.sampled_from([-1, 2**32, 2**63, 10**400, 1.5, 7.0, "3", True, None]), ODD)


def written(value: Any) -> bytes:
    return json.dumps(value).encode()


JUNK = (
    *(
        b"",
        b"   ",
        b"\0" * 40,
        b"[" * 100_000,
        b'{"a":' * 60_000,
        b'{"step": 1, "entropy": 1e999}',
        b"null",
        b"[1]",
        b'"x"',
    ),
    *(b"9" * 5000, b'{"step": ' + b"9" * 4400 + b"}", b"\xff\xfe{\0", b"\xef\xbb\xbf{}", b'{"step": 3, "entr', b"{}\r"),
)


def line_of(row: st.SearchStrategy[Any]) -> st.SearchStrategy[bytes]:
    return st.one_of(row.map(written), row.map(written), st.sampled_from(JUNK), st.binary(max_size=40))


METRICS = st.dictionaries(st.sampled_from(KEYS), st.one_of(NUMBERS, NUMBERS, ODD), max_size=6)
ROW = st.tuples(STEPS, METRICS).map(lambda pair: {"step": pair[0], **pair[1]})
SAID = st.fixed_dictionaries({"step": STEPS, "prompt": ODD, "completion": ODD}, optional={
    "rewards": ODD, "advantage": ODD, "tokens": ODD, "entropies": ODD,
})  # fmt: skip
DRAWN = st.fixed_dictionaries({"step": STEPS, "key": st.sampled_from(KEYS), "edges": ODD, "counts": ODD})
FACTS = st.dictionaries(
    st.sampled_from(["name", "seed", "stages", "vocabulary", "steps", "versions", "command", ESCAPE]), ODD
)
BOMB = "l0: &l0 [x]\n" + "".join(f"l{i}: &l{i} [{', '.join([f'*l{i - 1}'] * 10)}]\n" for i in range(1, 12))
BAD_YAML = (
    *(
        b"a: &a [*a]",
        b"? [1, 2]\n: 3",
        b"1: x\nb: y",
        b"d: 2001-99-99",
        b"!!python/object:os.system x",
        b"t: !!timestamp x",
    ),
    *(
        b"b: !!bool q",
        b"- " * 3000,
        b"[" * 3000,
        b"name: [1]\nseed: {}\nobjective: 3",
        b"a: *b",
        b"\tx",
        b"x: \x1b[31m",
    ),
    b"objective: {penalties: [{kl_ref: {name: [1], coef: {pid: {signal: {}}}}}, 3, {a: 1, b: 2}]}",
    *(b"n: " + b"9" * 5000, BOMB.encode()),
)
YAML = st.one_of(
    st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace")),
    ODD.map(written),
    st.sampled_from(BAD_YAML),
)


def swallow(file: Path) -> None:
    if file.is_dir() and not file.is_symlink():
        shutil.rmtree(file)
    else:
        file.unlink(missing_ok=True)


PLACES: dict[str, Callable[[Path], object]] = {
    "nothing": lambda file: None,
    "folder": lambda file: file.mkdir(),
    "pipe": os.mkfifo,
    "loop": lambda file: file.symlink_to(file.name),
    "device": lambda file: file.symlink_to("/dev/zero"),
    "dangling": lambda file: file.symlink_to("nowhere"),
    "empty": lambda file: file.write_bytes(b""),
    "UTF-16": lambda file: file.write_bytes('{"step": 1, "entropy": 2}\n'.encode("utf-16")),
    "BOM": lambda file: file.write_bytes(
        b'\xef\xbb\xbf{"step": 1, "entropy": 0.5}\r\n{"step": 2, "entropy": 0.25}\r\n'
    ),
    "junk": lambda file: file.write_bytes(bytes(range(256)) * 20),
}
"""What may stand in place of a file."""
FILES = ("metrics.jsonl", "completions.jsonl", "histograms.jsonl", "run.json", "recipe.yaml")


def noise(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Many rows, every key with numbers of a small pool of its own: enough for each rule to look at."""
    chance = random.Random(draw(st.integers(0, 2**32)))
    keys = draw(st.lists(st.sampled_from(KEYS), unique=True, max_size=12))
    pools = {key: draw(st.lists(NUMBERS, min_size=1, max_size=4)) for key in keys if key != "step"}
    steps = range(draw(st.sampled_from([0, 0, 30, 150])))
    return [{"step": step, **{key: chance.choice(pool) for key, pool in pools.items()}} for step in steps]


@st.composite
def damages(draw: st.DrawFn) -> dict[str, bytes | str]:
    """File -> its content, or one of PLACES."""
    healthy = [written(row) for row in rows(draw(st.sampled_from([0, 30, 90])), 0)]
    healthy += [written(row) for row in noise(draw)]
    bad = draw(st.lists(line_of(ROW), max_size=12))
    log = draw(st.permutations(healthy + bad)) if draw(st.booleans()) else healthy + bad
    files: dict[str, bytes | str] = {"metrics.jsonl": b"\n".join(log) + draw(st.sampled_from([b"", b"\n", b"\r\n"]))}
    files["completions.jsonl"] = b"\n".join(draw(st.lists(line_of(SAID), max_size=4)))
    files["histograms.jsonl"] = b"\n".join(draw(st.lists(line_of(DRAWN), max_size=4)))
    files["run.json"] = draw(line_of(FACTS))
    files["recipe.yaml"] = draw(st.one_of(YAML, st.just(RECIPE.format(name="x", seed=1, target=0.5, high=1).encode())))
    for file in draw(st.sets(st.sampled_from(FILES), max_size=2)):
        files[file] = draw(st.sampled_from([*PLACES]))
    return files


def build(folder: Path, damage: dict[str, bytes | str]) -> None:
    folder.mkdir(exist_ok=True)
    for name, given in damage.items():
        swallow(folder / name)
        if isinstance(given, bytes):
            (folder / name).write_bytes(given)
        else:
            PLACES[given](folder / name)


def called(*words: str) -> tuple[int, str, str]:
    """(exit code, standard output, standard error) of a command in this process."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err), warnings.catch_warnings():
        warnings.simplefilter("error")  # one of numpy's would stand in the terminal
        code = main(list(words))
    return code, out.getvalue(), err.getvalue()
