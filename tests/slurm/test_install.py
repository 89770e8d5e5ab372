"""Where Slurm is missing the test set-up installs it. Where it cannot, a test says so: as a skip, and in CI as a failure."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from support.slurm_cluster import demand, missing


@pytest.fixture
def bare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine without Slurm, whose commands are the files of a folder."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    return tmp_path


def apt(folder: Path, script: str) -> None:
    file = folder / "apt-get"
    file.write_text(f'#!/bin/sh\necho "$*" >>{folder}/called\n{script}\n')
    file.chmod(0o755)


def test_the_packages_are_installed_where_they_are_missing(bare: Path):
    apt(bare, f"for name in munged slurmctld slurmd sbatch; do : >{bare}/$name; /bin/chmod +x {bare}/$name; done")
    assert missing() is None
    update, install = (bare / "called").read_text().splitlines()
    assert "update" in update.split() and install.split()[-3:] == ["slurm-wlm", "slurm-client", "munge"]
    assert missing() is None
    assert len((bare / "called").read_text().splitlines()) == 2, "what is there is not installed again"


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        (None, "Slurm is not installed, and there is no apt-get to install it by"),
        ("echo 'E: no network' >&2; exit 100", "apt-get update failed: E: no network"),
        (
            'case "$*" in *install*) echo "E: no such package" >&2; exit 100;; esac',
            "apt-get install failed: E: no such",
        ),
        ("true", "munged is missing after the installation"),
    ],
)
def test_the_reason_is_named(bare: Path, script: str | None, reason: str):
    if script is not None:
        apt(bare, script)
    why = missing()
    assert why is not None and why.startswith(reason)


def test_only_root_starts_the_daemons(bare: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    assert missing() == "Slurm's daemons need root"


@pytest.mark.parametrize("value", ["true", "1"])
def test_in_ci_a_missing_cluster_is_a_failure(monkeypatch: pytest.MonkeyPatch, value: str):
    monkeypatch.setenv("CI", value)
    demand(None)
    with pytest.raises(pytest.fail.Exception, match=r"can be started here: no network; CI is set"):
        demand("no network")


@pytest.mark.parametrize("value", [None, "", "false", "0"])
def test_elsewhere_it_is_skipped_with_the_reason(monkeypatch: pytest.MonkeyPatch, value: str | None):
    if value is None:
        monkeypatch.delenv("CI", raising=False)
    else:
        monkeypatch.setenv("CI", value)
    with pytest.raises(pytest.skip.Exception, match="can be started here: no network"):
        demand("no network")
