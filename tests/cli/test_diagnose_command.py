"""`entropostat diagnose` as a script meets it: text, JSON, exit codes, a run that goes on; and the trainer's callback."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from support.pace import pace

from entropostat.__main__ import main
from entropostat.diagnose import examine
from entropostat.recipe import load

PLAIN = "entropostat:quickstart/plain.yaml"


def rows(last: float = 0.5) -> list[dict[str, float | None]]:
    """120 steps of .5 nats, from step 61 on of ``last``, while the reward stands still."""
    return [
        {"step": i + 1, "entropy": 0.5 if i < 60 else last, "reward": 0.4, "loss": 0.1, "kl_ref/kl": 0.01}
        for i in range(120)
    ]


@pytest.fixture
def folder(tmp_path):
    def make(last: float, **facts: object) -> Path:
        (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows(last)))
        (tmp_path / "run.json").write_text(json.dumps(facts))
        (tmp_path / "recipe.yaml").write_text(load(PLAIN).dump())
        return tmp_path

    return make


def test_exit_codes_are_for_scripts(folder, capsys, tmp_path):
    assert main(["diagnose", str(tmp_path / "nowhere")]) == 2
    assert "no run there" in capsys.readouterr().err
    assert main(["diagnose", str(folder(0.5))]) == 0
    assert "nothing found" in capsys.readouterr().out
    assert main(["diagnose", str(folder(0.005))]) == 1


def test_the_text_says_what_when_why_and_what_to_do(folder, capsys):
    main(["diagnose", str(folder(0.005, vocabulary=100))])
    text = capsys.readouterr().out
    assert "!! collapse, steps " in text and "evidence  entropy 0.00" in text and "cause     " in text
    assert "change    # Hold entropy at half of its start" in text and "+entropy_bonus:" in text


def test_json_holds_the_same_and_its_advice_loads_over_the_run_s_own_recipe(folder, capsys):
    where = folder(0.005, vocabulary=100)
    main(["diagnose", str(where), "--json"])
    told = json.loads(capsys.readouterr().out)
    assert told["rows"] == 120 and told["last_step"] == 120
    (one,) = told["findings"]
    assert one["rule"] == "collapse" and one["steps"][0] > 60
    child = where / "child.yaml"
    child.write_text("extends: recipe.yaml\n" + one["advice"])
    assert [term.name for term in load(child).objective["penalties"]] == ["entropy_bonus"]


def test_a_run_can_be_followed_while_it_is_written(folder, capsys, monkeypatch):
    from entropostat.readers import following

    where = folder(0.5)
    written = rows(0.005)

    def write_on(_: float) -> None:
        with (where / "metrics.jsonl").open("a") as stream:
            stream.writelines(json.dumps({**row, "step": 120 + row["step"]}) + "\n" for row in written[60:])
            stream.write('{"step": 500, "entr')  # cut short by a kill
        (where / "summary.json").write_text("{}")

    monkeypatch.setattr(following.time, "sleep", write_on)
    assert main(["diagnose", str(where), "--live", "on"]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 1 and lines[0].startswith("!! step ") and "collapse" in lines[0]


def test_the_command_imports_nothing_heavy(folder):
    where = folder(0.5)
    code = "import sys; from entropostat.__main__ import main; main(['diagnose', sys.argv[1]]); "
    code += "print([m for m in ('torch', 'trl', 'transformers', 'scipy') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(where)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"


def log_rows(callback, some, start=0):
    state = SimpleNamespace(is_world_process_zero=True, global_step=start)
    callback.on_train_begin(None, state, None)
    for row in some:
        state.global_step = row["step"]
        callback.on_log(None, state, None, logs={key: value for key, value in row.items() if key != "step"})
    return state


def test_a_run_tells_each_finding_once_and_alerts(capsys):
    from entropostat.trainers.watch.diagnosis import Diagnosis

    alerts: list[tuple[str, str, str]] = []
    callback = Diagnosis(100, alert=lambda *words: alerts.append(words))
    begun = time.perf_counter()
    log_rows(callback, rows(0.005))
    spent = 1e3 * (time.perf_counter() - begun) / 120
    print(f"live findings: {spent:.2f} ms a row")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1 and "collapse" in lines[0]
    assert len(alerts) == 1 and alerts[0][0].startswith("collapse at step ") and alerts[0][2] == "critical"
    assert 0 < callback.milliseconds / 120 < 3 * pace()


def test_other_ranks_say_nothing_and_a_resumed_run_does_not_repeat_itself(folder, capsys):
    from entropostat.trainers.watch.diagnosis import Diagnosis

    silent = Diagnosis(100)
    state = SimpleNamespace(is_world_process_zero=False, global_step=0)
    for row in rows(0.005):
        silent.on_log(None, state, None, logs=row)
    assert silent.live.log.rows == 0
    resumed = Diagnosis(100, past=folder(0.005) / "metrics.jsonl")
    state = log_rows(resumed, [{**row, "step": 120 + row["step"]} for row in rows(0.005)[60:]], start=120)
    resumed.on_train_end(None, state, None)
    assert capsys.readouterr().err == ""


def test_a_rule_that_fails_costs_the_findings_and_not_the_run(caplog):
    from entropostat.trainers.watch.diagnosis import Diagnosis

    callback = Diagnosis(100)
    callback.live.add = lambda row: 1 / 0
    log_rows(callback, rows()[:3])
    assert [record.message for record in caplog.records] == ["live findings failed at step 1 and are off now"]


def test_the_recipe_switches_it_off():
    assert load(PLAIN).tracking.diagnose is True
    assert load(PLAIN, ["tracking.diagnose=false"]).tracking.diagnose is False


def test_a_fall_after_the_last_held_out_look_waits_for_the_next_one() -> None:
    """The looks that could tell collapse from convergence are all older than the fall."""
    rows: list[dict[str, float]] = [{"step": step, "evaluate/hard/pass@1": 0.3} for step in (0, 10)]
    rows += [{"step": step, "entropy": 0.4 if step < 14 else 0.004, "reward": 0.3} for step in range(1, 40)]
    rows.sort(key=lambda row: row["step"])
    findings = examine(SimpleNamespace(rows=rows, vocabulary=100))
    assert "collapse" not in {one.rule for one in findings}
