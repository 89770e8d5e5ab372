"""wandb's workspace from the schema, by wandb-workspaces' own model and without a network."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from wandb_workspaces.workspaces import Workspace, internal

from entropostat.__main__ import main
from entropostat.dashboard import workspace
from entropostat.dashboard.chosen import of_any, of_recipe
from entropostat.metrics import ROWS
from entropostat.recipe import load
from entropostat.recipe.extends import RECIPES
from entropostat.rl.registry import LOSSES

PID = str(RECIPES / "quickstart" / "pid-kl.yaml")


@pytest.fixture(autouse=True)
def nobody(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Neither key nor network."""
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))


def written(subject: str, file: Path) -> dict[str, Any]:
    assert main(["dashboard", "wandb", subject, "--offline", str(file)]) == 0
    content: dict[str, Any] = json.loads(file.read_text())
    return content


def sections(view: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    bank = view["spec"]["section"]["panelBankConfig"]
    return {section["name"]: section["panels"] for section in bank["sections"]}


@pytest.mark.parametrize("subject", [PID, str(RECIPES / "methods" / "autopilot.yaml"), "team/trial"])
def test_the_file_is_what_wandbs_own_model_writes(subject: str, tmp_path: Path) -> None:
    """Read by the model and written again, it is the same; and the interface above the model understands it."""
    view = written(subject, tmp_path / "view.json")
    model = internal.View.model_validate(view)
    assert json.loads(model.model_dump_json(by_alias=True, exclude_none=True)) == view
    again = Workspace._from_model(model)
    assert [section.name for section in again.sections] == list(ROWS.values())
    assert all(section.panels for section in again.sections)
    assert again.settings.x_axis == "train/global_step"


def test_a_recipe_has_its_knobs_terms_and_targets_by_name(tmp_path: Path) -> None:
    rows = sections(written(PID, tmp_path / "view.json"))
    charts = {panel["config"].get("chartTitle"): panel["config"] for panels in rows.values() for panel in panels}
    knob = "train/control/penalties.kl_ref.coef"
    names = [f"{knob}/{part}" for part in ("signal", "smoothed", "target")]
    assert charts["penalties.kl_ref.coef: signal and target"]["metrics"] == names
    assert charts["KL"]["metrics"] == ["train/kl", "train/trust/kl_old", f"{knob}/target"]
    assert charts["kl_ref (nats)"]["metrics"] == ["train/kl_ref/kl"]
    assert not [title for title in charts if title and title.startswith(("Critic", "Step radius", "clip_cov"))]
    assert charts["KL"]["xAxis"] == "train/global_step"
    assert rows[ROWS["text"]][-1]["viewType"] == "Weave"
    assert rows[ROWS["state"]][-1]["config"]["mediaKeys"] == [workspace.HISTOGRAM]


@pytest.mark.parametrize("kind", LOSSES.names())
def test_clip_shares_are_shown_of_the_losses_that_have_bounds(kind: str, tmp_path: Path) -> None:
    types = LOSSES[kind].__dataclass_fields__["type"].metadata["choices"]
    for variant in types:
        child = tmp_path / f"{variant}.yaml"
        child.write_text(
            f"extends: entropostat:quickstart/plain.yaml\nname: child\nobjective: {{loss: {{{kind}: {{type: {variant}}}}}}}\n"
        )
        keys = {metric.key for metric in of_recipe(load(child)).metrics}
        shown = {key for key in ("clip_ratio/low_mean", "cispo_clip_ratio", "trust/clip_low") if key in keys}
        held = {"ratio": {"clip_ratio/low_mean"}, "weight": {"cispo_clip_ratio"}, "nothing": set()}
        holds = LOSSES.build(kind, {"type": variant}).holds
        assert shown == held[holds] | ({"trust/clip_low"} if holds != "nothing" else set())


def test_a_term_is_shown_under_the_name_that_the_recipe_gives_it(tmp_path: Path) -> None:
    child = tmp_path / "child.yaml"
    child.write_text(
        "extends: entropostat:quickstart/plain.yaml\nname: child\n"
        "objective: {penalties: {+kl_ref: {name: leash, coef: .1}}}\n"
    )
    panels = {(metric.key, metric.panel) for metric in of_recipe(load(child)).metrics}
    assert ("leash/kl", "leash (nats)") in panels
    assert not [key for key, _ in panels if key.startswith("kl_ref/")]


def test_a_project_is_shown_by_patterns_that_fit_its_keys_and_no_others() -> None:
    pattern = workspace.regex(["control/<knob>/p", "control/<knob>/i"])
    assert re.fullmatch(pattern, "train/control/penalties.kl_ref.coef/p")
    assert not re.fullmatch(pattern, "train/control/penalties.kl_ref.coef/output")
    keys = [metric.key for metric in of_any().metrics]
    assert "control/<knob>/output" in keys and "kl_ref/kl" not in keys
    assert re.fullmatch(workspace.regex(["profiling/<part>"]), "profiling/Time taken: x")


def test_online_without_a_key_says_so_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["dashboard", "wandb", "team/trial"]) == 2
    said = capsys.readouterr().err
    assert "API key" in said and "--offline FILE" in said and said.count("\n") == 1


def test_a_second_call_updates_the_view_of_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """By what is sent to wandb's server: its answers are those of a project without, and then with, our view."""
    sent: list[dict[str, Any]] = []
    known: list[dict[str, Any]] = []

    def execute(api: object, query: str, variables: dict[str, Any]) -> dict[str, Any]:
        if "upsertView" not in query:
            return {"project": {"allViews": {"edges": [{"node": node} for node in known]}}}
        sent.append(variables)
        known[:] = [{"id": "1", "displayName": "x", "spec": variables["spec"]}]
        return {"upsertView": {"view": {"id": "1", "name": variables["name"]}}}

    monkeypatch.setattr(internal, "execute_graphql", execute)
    monkeypatch.setattr("wandb.Api", lambda: None)
    monkeypatch.setattr(Workspace, "url", "https://wandb.ai/team/trial")
    for _ in range(2):
        workspace.save(workspace.build(of_any(), "team", "trial"))
    assert [variables.get("id") for variables in sent] == [None, "1"]
    assert {variables["name"] for variables in sent} == {workspace.VIEW}


@pytest.mark.parametrize(
    ("trainer", "said"),
    [
        ({}, False),
        ({"use_vllm": True}, True),
        ({"use_vllm": True, "vllm_importance_sampling_correction": False}, False),
    ],
)
def test_panels_of_trls_correction_are_there_where_it_corrects(trainer: dict[str, Any], said: bool) -> None:
    words = [f"trainer.{key}={json.dumps(value)}" for key, value in trainer.items()]
    keys = [metric.key for metric in of_recipe(load(PID, words)).metrics]
    assert any(key.startswith("sampling/") for key in keys) == said
    assert ("trust/sampler_gap" in keys) == bool(trainer)
