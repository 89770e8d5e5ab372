"""The checklist for GPUs: a row for whatever becomes of a check, the record, the exit code, and the page that records make."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from support.processes import alive

from benchmarks.smoke import __main__ as command
from benchmarks.smoke import page, record
from benchmarks.smoke.anonymous import anonymous
from benchmarks.smoke.checklist import CHECKS, Check, find
from benchmarks.smoke.row import Row
from benchmarks.smoke.runner import run

CHECK = Check("bf16", "a title", limit=20)
WRITES = """
import json, sys
name, device, gpus, scratch, out = sys.argv[1:]
row = {"name": name, "title": "a title", "status": "STATUS", "seen": f"{device} {gpus}", "seconds": 0, "numbers": {"a": 1}, "tail": ""}
print("a line of the log")
json.dump(row, open(out, "w"))
"""


def ran(code: str, limit: float = 20, device: str = "cpu", gpus: int = 0) -> Row:
    return run(Check(CHECK.name, CHECK.title, limit), device, gpus, worker=("-c", code))


def test_a_row_is_what_the_check_s_process_wrote_and_how_long_it_took() -> None:
    row = ran(WRITES.replace("STATUS", "pass"), device="cuda", gpus=3)
    assert (row.name, row.status, row.seen, row.numbers, row.tail) == ("bf16", "pass", "cuda 3", {"a": 1}, "")
    assert 0 < row.seconds < 20
    assert ran(WRITES.replace("STATUS", "fail")).tail == "a line of the log"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("raise OSError('no such card')", "ended with 1: OSError: no such card"),
        ("", "ended with 0: and said nothing"),
        ("import os; os.kill(os.getpid(), 9)", "killed by SIGKILL: main memory may have run out"),
        ("import os; os.kill(os.getpid(), 11)", "killed by SIGSEGV"),
    ],
)
def test_a_check_that_breaks_has_a_row_that_says_how(code: str, why: str) -> None:
    row = ran(code)
    assert (row.status, row.seen) == ("fail", why)


def test_the_log_of_a_failure_is_shown_without_its_secrets() -> None:
    secret = "hf_" + "aB3dE5gH" * 4
    row = ran(f"import sys; print('token', '{secret}'); sys.exit('last words of {secret}')")
    assert "last words" in row.seen and "last words" in row.tail and secret not in json.dumps(row.data())


def test_a_check_that_is_late_is_killed_with_all_that_it_started(tmp_path: Path) -> None:
    pid = tmp_path / "pid"
    forks = "import os, time; child = os.fork(); child and open({!r}, 'w').write(str(child)); time.sleep(60)"
    begun = time.monotonic()
    row = ran(forks.format(str(pid)), limit=2)
    assert (row.status, row.seen) == ("fail", "not done after 2 s, and killed")
    while alive(int(pid.read_text())):  # a moment, until it has died
        assert time.monotonic() - begun < 20
        time.sleep(0.05)


def test_a_run_is_told_to_ask_nothing_of_the_hub_and_on_the_cpu_to_see_no_gpu() -> None:
    code = WRITES.replace("STATUS", "pass").replace('f"{device} {gpus}"', "__import__('os').environ.get(KEY, 'unset')")
    assert ran(code.replace("KEY", "'HF_HUB_OFFLINE'"), device="cuda").seen == "1"
    assert ran(code.replace("KEY", "'CUDA_VISIBLE_DEVICES'")).seen == ""


def test_the_checks_stay_within_the_quarter_of_an_hour_and_each_has_its_file() -> None:
    assert sum(check.limit for check in CHECKS) <= 900
    files = (Path(command.__file__).parent / "checks").glob("*.py")
    assert {check.name for check in CHECKS} == {file.stem for file in files}
    assert all(callable(check.load().check) for check in CHECKS)
    with pytest.raises(KeyError, match="no check 'zero4'; there are versions, kernels"):
        find("zero4")


def answer(status: str) -> Any:
    return lambda check, device, gpus: Row(
        check.name, check.title, status, f"{gpus} seen", 1.0, tail="words" * (status == "fail")
    )  # type: ignore[arg-type]


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Check -> status, of a machine with as many GPUs as "gpus" says; passes are not named."""
    said = {"gpus": "2"}
    monkeypatch.setattr(command, "visible_gpus", lambda: int(said["gpus"]))
    monkeypatch.setattr(command, "run", lambda check, *rest: answer(said.get(check.name, "pass"))(check, *rest))
    monkeypatch.chdir(tmp_path)
    return said


def test_a_failure_stops_no_other_row_and_shows_in_table_record_and_exit_code(
    answers: dict[str, str], capsys: Any
) -> None:
    answers["zero3"] = "fail"
    assert command.main([]) == 1
    out = capsys.readouterr().out
    made = json.loads(Path("smoke.json").read_text())
    assert [row["name"] for row in made["rows"]] == [check.name for check in CHECKS]
    assert [row["name"] for row in made["rows"] if row["status"] == "fail"] == ["zero3"]
    assert out.count("| pass |") == len(CHECKS) - 1 and out.count("| **FAIL** |") == 1
    assert "ZeRO-3, ten steps:\n```\nwords" in out


def test_without_a_gpu_it_says_so_and_skips_all_rows_but_the_versions(answers: dict[str, str], capsys: Any) -> None:
    answers["gpus"] = "0"
    assert command.main(["--out", "here.json"]) == 2
    made = json.loads(Path("here.json").read_text())
    assert {row["name"]: row["status"] for row in made["rows"]}.pop("versions") == "pass"
    assert {(row["status"], row["seen"]) for row in made["rows"][1:]} == {("skipped", command.NO_GPU)}
    assert command.NO_GPU in capsys.readouterr().err


def test_the_exit_code_is_0_where_a_row_on_a_gpu_passed_and_2_where_none_did(answers: dict[str, str]) -> None:
    assert command.main([]) == 0
    answers["vllm_server"] = "skipped"
    assert command.main(["--only", "versions", "vllm_server"]) == 2
    assert command.main(["--only", "zero3", "vllm_server"]) == 0
    assert command.main(["--only", "versions", "vllm_server", "--device", "cpu"]) == 0


def test_waiting_longer_is_for_every_row(answers: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    limits = []
    monkeypatch.setattr(command, "run", lambda check, *rest: limits.append(check.limit) or answer("pass")(check, *rest))
    command.main(["--patience", "2"])
    assert limits == [2 * check.limit for check in CHECKS]


def made(**changes: Any) -> dict[str, Any]:
    rows = [
        Row("zero3", "ZeRO-3", "fail", "a | b\nc <img>", 2.4, {}, "a tail"),
        Row("fsdp2", "FSDP2", "skipped", "why"),
    ]
    facts = {"versions": {"torch": "2.13.0"}, "gpus": ["X (80 GiB)", "X (80 GiB)", "Y (40 GiB)"], "driver": "570"}
    return json.loads(
        json.dumps(record.record("cuda", rows, facts) | {"made": "2026-01-31 12:00 UTC", "commit": "abc"} | changes)
    )


def test_a_table_names_the_machine_and_each_row_stays_in_its_cells() -> None:
    text = record.table(made())
    assert "(abc), 2026-01-31 12:00 UTC, `--device cuda`: 2 x X (80 GiB) + 1 x Y (40 GiB), driver 570" in text
    assert "| ZeRO-3 | **FAIL** | a \\| b c <img> | 2 |\n| FSDP2 | skipped | why | 0 |\n" in text
    assert "ZeRO-3:\n```\na tail\n```" in text and "a tail" not in record.table(made(), tails=False)


def test_a_log_is_shown_without_the_names_of_host_user_and_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "host-of-mine")
    monkeypatch.setattr("getpass.getuser", lambda: "somebody")
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setattr("sys.prefix", "/home/somebody/venv")
    said = f"host-of-mine: {page.ROOT}/a.py, /home/somebody/venv/bin/x, /home/somebody/y for somebody"
    assert anonymous(said) == "HOST: ./a.py, ENV/bin/x, ~/y for USER"


def test_the_page_is_what_the_records_say() -> None:
    assert page.page(page.recorded()) == page.PAGE.read_text(), "run: python -m benchmarks.smoke.page"


def test_a_record_from_elsewhere_is_added_and_the_page_written_anew(tmp_path: Path) -> None:
    sent, out = tmp_path / "smoke.json", tmp_path / "hardware.md"
    into = ["--folder", str(tmp_path / "kept"), "--page", str(out)]
    assert page.main(into) == 0
    assert "nothing of this project has run on a GPU" in out.read_text()
    for day in ("2026-01-30", "2026-01-31"):
        sent.write_text(json.dumps(made(made=f"{day} 12:00 UTC")))
        assert page.main([str(sent), *into]) == 0
    text = out.read_text()
    assert "nothing of this project" not in text and "<img>" not in text
    assert text.index("Y (40 GiB), driver 570, 2026-01-31") < text.index("Y (40 GiB), driver 570, 2026-01-30")
    assert len(list((tmp_path / "kept").iterdir())) == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"rows": [{"name": "zero3"}]}, "a row lacks title"),
        ({"rows": [Row("zero4", "", "pass", "").data()]}, "zero4"),
        ({"rows": [Row("zero3", "", "best", "").data()]}, "best"),  # type: ignore[arg-type]
        ({"commit": 3}, "the record lacks commit"),
        ({"made": "../../x"}, "is no time"),
    ],
)
def test_what_is_no_record_is_refused_and_nothing_written(
    changes: dict[str, Any], why: str, tmp_path: Path, capsys: Any
) -> None:
    sent = tmp_path / "smoke.json"
    sent.write_text(json.dumps(made(**changes)))
    assert page.main([str(sent), "--folder", str(tmp_path / "kept"), "--page", str(tmp_path / "hardware.md")]) == 2
    assert why in capsys.readouterr().err and list(tmp_path.iterdir()) == [sent]
