"""`report`, `compare`, `diagnose` and `status` on runs that are damaged, or that were made to do harm."""

from __future__ import annotations

import json
import math
import os
import re
import threading
import time
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from support.hostile_runs import ESCAPE, PLACES, build, called, damages, swallow
from support.pace import pace
from support.synthetic_runs import write_run

from entropostat.__main__ import main
from entropostat.cli.status import row, table
from entropostat.readers.damage import Damage
from entropostat.readers.lines import json_lines
from entropostat.readers.values import plain
from entropostat.slurm.queue import State
from entropostat.strict_json import dumps

pytestmark = pytest.mark.timeout(60)
UNPRINTABLE = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\ud800-\udfff]")
COMMANDS = (["report"], ["compare"], ["compare", "--json"], ["diagnose"], ["diagnose", "--json"])


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def check_all(folder: Path) -> dict[str, tuple[int, str, str]]:
    """Every command ends with a code of its own, says what it leaves out in one line a file, and prints nothing but text."""
    report = folder.parent / "report.html"
    results = {}
    for words in COMMANDS:
        begun = time.monotonic()
        code, out, err = called(*words, str(folder), *(["--out", str(report)] if words == ["report"] else []))
        assert code in (0, 1, 2) and time.monotonic() - begun < 5
        assert not UNPRINTABLE.search(out) and not UNPRINTABLE.search(err), (words, out, err)
        assert len(err.splitlines()) <= 5 and all(line.startswith("entropostat ") for line in err.splitlines()), err
        if code == 2:
            assert out == "" and len(err.splitlines()) == 1
        elif "--json" in words:
            json.loads(out, parse_constant=no_constant)
        elif words == ["report"]:
            data = (
                report.read_text().partition('type="application/json"')[2].partition(">")[2].partition("</script>")[0]
            )
            json.loads(data, parse_constant=no_constant)
        results[" ".join(words)] = (code, out, err)
    state = State("1", "RUNNING", ESCAPE, "n\nb", "0:00", "1", "0:0", f"entropostat:{folder.parent}/{folder.name[:-2]}")
    (line,) = table([row(state)])
    assert not UNPRINTABLE.search(line) and "\n" not in line
    return results


@pytest.mark.parametrize("place", [*PLACES, "outside"])
@pytest.mark.parametrize("name", ["metrics.jsonl", "completions.jsonl", "histograms.jsonl", "run.json", "recipe.yaml"])
def test_what_stands_in_place_of_a_file_cannot_hold_or_lead_a_command_away(
    tmp_path: Path, name: str, place: str
) -> None:
    folder = write_run(tmp_path / "run-1", steps=6)
    kept = (folder / name).read_bytes()
    swallow(folder / name)
    if place == "outside":
        (tmp_path / "secret").write_bytes(kept)
        (folder / name).symlink_to(tmp_path / "secret")
    else:
        PLACES[place](folder / name)
    results = check_all(folder)
    if place in ("folder", "pipe", "loop", "device", "outside"):
        code, _, err = results["report"]
        assert name in err and code == (2 if name == "metrics.jsonl" else 0)


def log(tmp_path: Path, *lines: str, **files: str) -> Path:
    folder = tmp_path / "run-1"
    folder.mkdir()
    (folder / "metrics.jsonl").write_text("".join(f"{line}\n" for line in lines))
    for name, text in files.items():
        (folder / name.replace("_", ".")).write_text(text)
    return folder


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ('{"entropy": 1}', "it has no step"),
        ('{"step": "4"}', "its step is '4'"),
        ('{"step": true}', "its step is true"),
        ('{"step": -1}', "its step is -1"),
        ('{"step": 1.5}', "its step is 1.5"),
        ('{"step": 1e999}', "its step is no finite number"),
        ('{"step": 4294967296}', "its step is 4294967296"),
        (f'{{"step": {"9" * 400}}}', "its step is a number beyond 3e+38"),
        ("[1, 2]", "no JSON object"),
        ("[" * 100_000, "nested too deep"),
        ('{"step": 1', "no JSON"),
        ("\0\0\0", "no JSON"),
    ],
)
def test_a_row_that_is_none_is_counted_with_its_reason(tmp_path: Path, line: str, reason: str) -> None:
    folder = log(tmp_path, '{"step": 1, "entropy": 0.5}', line, line, '{"step": 2, "entropy": 0.25}')
    for words, (code, _, err) in check_all(folder).items():
        told = f"entropostat {words.partition(' ')[0]}: {folder}/metrics.jsonl: 2 rows left out (the first in row 2: {reason})\n"
        assert err == told and code == 0
    assert json.loads(called("compare", "--json", str(folder))[1])[0]["metrics"]["entropy"]["values"] == [0.25]


@pytest.mark.parametrize("value", ["true", '"0.5"', "[1]", '{"a": 1}', "1e308", "9" * 400])
def test_a_value_that_is_no_number_is_left_out_of_its_row_and_said(tmp_path: Path, value: str) -> None:
    folder = log(tmp_path, f'{{"step": 1, "entropy": {value}, "kl": 0.5}}')
    code, out, err = called("compare", "--json", str(folder))
    assert code == 0 and list(json.loads(out)[0]["metrics"]) == ["kl"]
    assert "metrics.jsonl: 1 value left out (the first in row 1, entropy: " in err


@pytest.mark.parametrize("value", ["null", "NaN", "-Infinity", "1e999"])
def test_null_and_what_json_has_no_word_for_mean_that_nothing_was_measured(tmp_path: Path, value: str) -> None:
    folder = log(tmp_path, f'{{"step": 1, "entropy": 0.5, "kl": {value}}}', f'{{"step": 2, "entropy": {value}}}')
    code, out, err = called("compare", "--json", str(folder))
    assert (code, err) == (0, "") and json.loads(out)[0]["metrics"]["entropy"]["values"] == [0.5]
    assert "kl" not in json.loads(out)[0]["metrics"]


def test_a_log_out_of_order_ends_where_its_steps_end(tmp_path: Path) -> None:
    folder = log(tmp_path, *(f'{{"step": {step}, "entropy": {step}}}' for step in (3, 9, 1, 5)))
    assert json.loads(called("compare", "--json", str(folder))[1])[0]["metrics"]["entropy"]["mean"] == 9


def test_a_damaged_description_costs_itself_and_not_the_run(tmp_path: Path) -> None:
    folder = log(tmp_path, '{"step": 1, "entropy": 0.5}', run_json='{"seed": 3', recipe_yaml="a: [")
    for words, (code, _, err) in check_all(folder).items():
        assert code == 0 and len(err.splitlines()) == 2, words
        assert "run.json: no JSON (" in err and "recipe.yaml: not valid YAML: " in err and "(line 1); the run is" in err
    (folder / "run.json").write_text('{"seed": "3", "stages": [1], "vocabulary": -4, "steps": "x", "name": {}}')
    assert (
        "run.json: 5 values left out (the first in row 1, name: an object is none)" in called("compare", str(folder))[2]
    )


def test_twenty_thousand_metrics_take_eight_seconds_at_most(tmp_path: Path) -> None:
    forms = (
        *("control/penalties.t{}.coef/output", "control/penalties.t{}.coef/saturated", "forces/t{}/share"),
        *("evaluate/set{}/pass@1", "evaluate/set{}/share/a", "evaluate/one/share/s{}", "term{}/x", "odd{}"),
    )
    values = {form.format(i): i % 7 / 7 for i in range(2500) for form in forms}
    folder = log(tmp_path, *(json.dumps({"step": step, **values}) for step in range(1, 31)))
    assert len(values) == 20_000
    for words in (["report", "--out", str(tmp_path / "x.html")], ["compare"], ["diagnose"]):
        begun = time.process_time()  # whatever else the machine does
        assert called(*words, str(folder))[0] in (0, 1)
        spent = time.process_time() - begun
        print(f"{words[0]}: {spent:.1f} s")
        assert spent < 8 * pace()


def test_a_picture_of_hostile_names_is_drawn(tmp_path: Path) -> None:
    names = ("\\frac", "_", "²", "x" * 200, "7")
    values = {f"evaluate/${name}$/pass@{k}": 0.5 for name in names for k in (name, 1)}
    folder = log(tmp_path, *(json.dumps({"step": s, "entropy": 3e38, "kl": 1e-300, **values}) for s in (0, 4294967295)))
    assert main(["compare", str(folder), "--png", str(tmp_path / "x.png")]) == 0
    assert (tmp_path / "x.png").read_bytes()[:4] == b"\x89PNG"
    code, _, err = called("compare", str(folder), "--png", str(tmp_path / "x.nonsense"))
    assert code == 2 and "x.nonsense" in err.splitlines()[-1] and len(err.splitlines()) == 2


def test_a_log_that_grows_while_it_is_read_comes_to_an_end(tmp_path: Path) -> None:
    folder, seen = log(tmp_path, *('{"step": 1}' for _ in range(3))), []
    with (folder / "metrics.jsonl").open("a") as writer:
        for place, _ in islice(json_lines(folder / "metrics.jsonl", Damage(folder)), 20):
            seen.append(place)
            writer.write('{"step": 2}\n')
            writer.flush()
    assert seen == [1, 2, 3]


def test_what_unfolds_to_more_than_a_file_could_hold_is_refused() -> None:
    row = [0] * 300
    assert len(plain([row] * 100)) == 100
    with pytest.raises(ValueError, match="more than 50000 values"):
        plain([row] * 300)
    endless: list[object] = []
    endless.append(endless)
    with pytest.raises(ValueError, match="nested too deep"):
        plain(endless)


def test_a_report_takes_the_place_of_a_link_and_does_not_follow_it(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=4)
    (tmp_path / "precious").write_text("kept")
    (folder / "report.html").symlink_to(tmp_path / "precious")
    assert called("report", str(folder))[0] == 0
    assert (tmp_path / "precious").read_text() == "kept" and "<html" in (folder / "report.html").read_text()


def test_advice_with_a_name_out_of_the_log_stays_one_key(tmp_path: Path) -> None:
    from ruamel.yaml import YAML

    term = "a: 1}}}\nreward: {python"
    rows = ({"step": s, f"forces/{term}/share": 0.0, f"control/penalties.{term}.x/output": 1.0} for s in range(1, 80))
    folder = log(tmp_path, *map(json.dumps, rows))
    code, out, _ = called("diagnose", "--json", str(folder))
    assert code == 1
    for one in json.loads(out)["findings"]:
        assert list(YAML(typ="safe", pure=True).load(one["advice"])) == ["objective"]


def test_a_followed_run_survives_damage_and_its_own_disorder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from entropostat.readers import following

    folder = log(tmp_path, '{"step": 1, "entropy": 0.5}')

    def write_on(_: float) -> None:
        with (folder / "metrics.jsonl").open("ab") as stream:
            stream.write(b'3}\n\xff\xfe}\n{"step": "x"}\n{"entropy": 1}\n' + b"[" * 100_000 + b"}\n")
            stream.writelines(
                json.dumps({"step": step % 70, "entropy": float(step)}).encode() + b"\n" for step in range(140)
            )
        (folder / "summary.json").write_text("{}")

    monkeypatch.setattr(following.time, "sleep", write_on)
    code, out, err = called("diagnose", str(folder), "--live", "on", "--json")
    assert code in (0, 1) and err == "" and all(json.loads(line) for line in out.splitlines())


def test_a_file_that_is_written_while_it_is_read_comes_to_an_end(tmp_path: Path) -> None:
    folder = log(tmp_path, *('{"step": 1, "entropy": 0.5}' for _ in range(2_000)))
    done = threading.Event()

    def write() -> None:
        with (folder / "metrics.jsonl").open("ab", buffering=0) as stream:
            while not done.is_set() and stream.tell() < 1 << 28:
                stream.write(b'{"step": 2, "entropy": 0.25}\n' * 20_000)

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert called("diagnose", str(folder))[0] == 0
    finally:
        done.set()
        writer.join()


def test_a_name_of_bytes_that_are_no_text_is_shown_as_escapes(tmp_path: Path) -> None:
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff\x1b[31m-1"))
    write_run(folder, steps=4)
    for words, (code, out, _) in check_all(folder).items():
        assert code == 0 and (words == "report" or "x1b[31m" in out)


def test_a_job_s_folder_of_other_shapes_has_no_step(tmp_path: Path) -> None:
    folder = log(
        tmp_path, '{"step": 7, "x": "' + "y" * 70_000 + '"}', '{"step": "8"}', "[9]", run_json='{"steps": {"a": 1}}'
    )
    state = State("1", "RUNNING", "", "", "", "", "", f"entropostat:{tmp_path}/run")
    assert row(state)[-2] == "7"
    for comment in ("entropostat:\0", "entropostat:" + "x" * 9000, f"entropostat:{folder}/metrics.jsonl/x"):
        assert row(State("1", "RUNNING", "", "", "", "", "", comment))[-1] == "-"


def test_deep_yaml_is_refused(tmp_path: Path) -> None:
    """To load it takes the square of its depth, where the stack is large enough to go on."""
    folder = log(tmp_path, '{"step": 1, "entropy": 0.5}', recipe_yaml="[" * 3000)
    assert (
        "recipe.yaml: nested deeper than 40 levels (line 1); the run is read without it"
        in called("compare", str(folder))[2]
    )


def test_no_number_that_json_lacks_is_written() -> None:
    assert dumps({"a": [math.nan, (math.inf, 1.5)]}) == '{"a": [null, [null, 1.5]]}'


@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(damages())
def test_no_damage_makes_a_traceback_or_another_json_or_moves_the_cursor(
    tmp_path: Path, damage: dict[str, bytes | str]
) -> None:
    folder = tmp_path / "run-1"
    build(folder, damage)
    check_all(folder)
