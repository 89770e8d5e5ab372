"""The command: files, errors, and the live server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.browser import Browser
from support.synthetic_runs import rows, write_run

from entropostat.__main__ import main
from entropostat.report.page import page
from entropostat.report.payload import payload, to_json
from entropostat.report.record import records
from entropostat.report.serve import Source, server


def test_the_file_lies_beside_the_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one, two = write_run(tmp_path / "runs/one", steps=4), write_run(tmp_path / "runs/two", steps=4)
    assert main(["report", str(one)]) == 0 and (one / "report.html").is_file()
    assert main(["report", str(one), str(two / "metrics.jsonl")]) == 0 and (tmp_path / "runs/report.html").is_file()
    assert "report.html (0." in capsys.readouterr().out


def test_a_wrong_path_a_closed_folder_and_a_taken_port_are_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = write_run(tmp_path / "run", steps=4)
    assert main(["report", str(folder), str(tmp_path / "none")]) == 2
    assert (
        capsys.readouterr().err == f"entropostat report: {tmp_path / 'none'}: no run there (no such file or folder)\n"
    )
    assert main(["report", str(folder), "--out", str(tmp_path / "no/where.html")]) == 1
    assert "no/where.html: No such file or directory; name another file by --out\n" in capsys.readouterr().err
    with server(Source([folder], lambda: ""), lambda data: data, 0) as taken:
        assert main(["report", str(folder), "--watch", "--port", str(taken.server_port)]) == 1
    assert "Address already in use; --port 0 takes a free one" in capsys.readouterr().err


def test_it_imports_no_torch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", steps=4)
    script = f"import sys; from entropostat.__main__ import main; main(['report', {str(folder)!r}]); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.splitlines()[-1] == "False"


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    folder = write_run(tmp_path / "run", steps=60)
    source = Source([folder], lambda: to_json(payload(records([folder]))))
    with server(source, lambda data: page("run", data, live=True), 0) as made:
        threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield folder, f"http://127.0.0.1:{made.server_port}/"
        made.shutdown()


def ask(address: str, **headers: str) -> tuple[int, str, str]:
    try:
        with urllib.request.urlopen(urllib.request.Request(address, headers=headers), timeout=20) as answer:
            return answer.status, answer.headers.get("ETag", ""), answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, "", ""


def test_the_server_answers_loopback_by_its_own_name_alone(served: tuple[Path, str]) -> None:
    _, address = served
    assert ask(address)[0] == 200
    assert ask(address, Host="evil.example")[0] == 403
    assert ask(f"{address}../../etc/passwd")[0] == ask(f"{address}recipe.yaml")[0] == 404


def test_data_come_again_only_when_a_run_has_grown(served: tuple[Path, str]) -> None:
    folder, address = served
    status, tag, text = ask(f"{address}data.json")
    assert status == 200 and json.loads(text)["runs"][0]["last_step"] == 60
    assert ask(f"{address}data.json", **{"If-None-Match": tag})[0] == 304
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.write('{"step": 61, "entropy": 0.25}\n{"step": 62, "ent')
    status, newer, text = ask(f"{address}data.json", **{"If-None-Match": tag})
    assert status == 200 and newer != tag and json.loads(text)["runs"][0]["last_step"] == 61


def test_an_open_page_follows_the_run(served: tuple[Path, str], browser: Browser) -> None:
    folder, address = served
    browser.open(address)
    browser.until("document.body.dataset.live === 'on'")
    browser.click("#smooth")
    assert browser.hover("entropy", 0.995)["step"] == 60
    browser.run("window.untouched = true")
    with (folder / "metrics.jsonl").open("a") as stream:
        stream.writelines(json.dumps({**row, "step": row["step"] + 60}) + "\n" for row in rows(30, seed=1)[1:-1])
    browser.until("document.querySelector('#legend').innerText.includes('90 steps')")
    # The same page, with what was set in it.
    assert browser.run("return window.untouched && document.querySelector('#smooth').ariaPressed") == "false"
    seen = browser.hover("entropy", 0.995)
    assert seen["step"] == 90 and seen["values"] == {"run": rows(30, seed=1)[30]["entropy"]}
    assert all(url.startswith(address) for url in browser.requests())
    assert browser.complaints() == []
