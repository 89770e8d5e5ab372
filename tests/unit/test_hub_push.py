"""`trainer.push_to_hub`: the files of final/, once; a Hub that fails costs a line."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from entropostat.recipe import RecipeError, load
from entropostat.recipe.extends import RECIPES
from entropostat.trainers.records import hub
from entropostat.trainers.run import training_config

TOKEN = "hf_" + "aB3" * 12


class Api:
    """A stand-in for HfApi that remembers what it was asked."""

    calls: ClassVar[list[tuple[str, dict[str, Any]]]] = []
    fails: ClassVar[dict[str, Exception]] = {}

    def __init__(self, token: str | None) -> None:
        self.token = token

    def __getattr__(self, name: str) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            if name in self.fails:
                raise self.fails[name]
            names = ["repo_id"] if args else []
            self.calls.append((name, {**dict(zip(names, args, strict=False)), **kwargs}))
            return SimpleNamespace(repo_id=f"ada/{str(args[0]).rpartition('/')[2]}") if name == "create_repo" else None

        return call


@pytest.fixture
def api(monkeypatch: pytest.MonkeyPatch) -> type[Api]:
    Api.calls, Api.fails = [], {}
    monkeypatch.setattr(hub, "HfApi", Api)
    return Api


def arguments(**changes: Any) -> Any:
    given = {"hub_model_id": "ada/mine", "hub_token": TOKEN, "hub_private_repo": True, "hub_revision": None}
    return SimpleNamespace(**{**given, **changes})


def test_the_final_policy_goes_up_once_and_alone(api: type[Api], tmp_path: Path) -> None:
    assert hub.push(tmp_path / "run" / "final", arguments()) is None
    (made, repo), (sent, what) = api.calls
    assert (made, sent) == ("create_repo", "upload_folder")
    assert repo == {"repo_id": "ada/mine", "private": True, "exist_ok": True}
    assert what["folder_path"] == str(tmp_path / "run" / "final") and what["repo_id"] == "ada/mine"
    assert "path_in_repo" not in what and "ignore_patterns" not in what  # the same files as here


def test_a_revision_is_made_and_a_name_is_the_runs(api: type[Api], tmp_path: Path) -> None:
    hub.push(tmp_path / "run" / "final", arguments(hub_model_id=None, hub_revision="v2"))
    assert [name for name, _ in api.calls] == ["create_repo", "create_branch", "upload_folder"]
    assert api.calls[0][1]["repo_id"] == "run" and api.calls[1][1]["branch"] == "v2"
    assert api.calls[2][1]["revision"] == "v2" and api.calls[2][1]["repo_id"] == "ada/run"


ERRORS = {
    "create_repo": OfflineModeIsEnabled("no way out"),
    "create_branch": PermissionError(f"403 for {TOKEN}"),
    "upload_folder": ConnectionError("the network\nis gone"),
}


@pytest.mark.parametrize("step", ERRORS)
def test_a_failure_is_one_line_that_says_how_to_push_by_hand(
    api: type[Api], step: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    api.fails = {step: ERRORS[step]}
    final = tmp_path / "my run" / "final"
    assert hub.push(final, arguments(hub_revision="v2")) is not None
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("final/ was not uploaded: ") and TOKEN not in line
    assert line.endswith(f"by hand: hf upload ada/mine '{final}' . --private --revision v2")


def test_an_error_without_words_is_named(api: type[Api], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    api.fails = {"upload_folder": TimeoutError()}
    hub.push(tmp_path, arguments(hub_private_repo=None))
    assert "not uploaded: TimeoutError. It is whole in" in capsys.readouterr().err
    assert issubclass(HfHubHTTPError, Exception)


def test_checkpoints_stay_here(tmp_path: Path) -> None:
    recipe = load(RECIPES / "quickstart" / "plain.yaml", ["trainer.push_to_hub=true", "trainer.hub_model_id=ada/mine"])
    config = training_config(recipe, tmp_path)
    assert config.push_to_hub and config.hub_strategy == "end"
    for key in ("hub_strategy=every_save", "hub_always_push=true"):
        with pytest.raises(RecipeError, match=r"cannot be set .*: the final policy goes up once, at the end"):
            load(RECIPES / "quickstart" / "plain.yaml", [f"trainer.{key}"])
