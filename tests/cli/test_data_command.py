"""`entropostat data` shows what the policy is asked and how its answers are read, and what it finds stops a run before anything is loaded."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import pytest
from support.commands import said

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}</>{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"
RECIPE = """
extends: entropostat:base/grpo.yaml
name: mine
output_dir: runs
model: {path: policy}
data:
  sources: {own: {file: {path: rows.jsonl}}}
  held_out: 0.25
  system: 'Put it in \\boxed{}.'
reward: [numeric: {}]
evaluate: {sets: {bench: {file: {path: bench.jsonl}}}, every: 0}
trainer: {max_completion_length: 100, bf16: false}
"""


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    letters = {token: i for i, token in enumerate(["<eos>", "<unk>", *map(chr, range(32, 127)), *"\x1b\r\u202e"])}
    core = Tokenizer(models.WordLevel(letters, unk_token="<unk>"))
    core.pre_tokenizer, core.decoder = pre_tokenizers.Split("", "isolated"), decoders.Fuse()
    spoken = PreTrainedTokenizerFast(tokenizer_object=core, eos_token="<eos>", unk_token="<unk>")
    spoken.chat_template = TEMPLATE
    spoken.save_pretrained(tmp_path / "policy")
    (tmp_path / "policy" / "config.json").write_text('{"max_position_embeddings": 160}')
    lay(
        tmp_path / "rows.jsonl",
        [(f"What is {i}+1?", str(i + 1)) for i in range(60)] + [("What is 3+1?", "4"), ("Why?", None)],
    )
    lay(tmp_path / "bench.jsonl", [("What is 5+1?", "6")])
    (tmp_path / "recipe.yaml").write_text(RECIPE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)  # read once, when it is imported
    return tmp_path


def lay(file: Path, pairs: list[tuple[str, Any]]) -> None:
    file.write_text("".join(json.dumps({"prompt": prompt, "answer": answer}) + "\n" for prompt, answer in pairs))


def found(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> Any:
    returned, out, err = said(capsys, ["data", "recipe.yaml", "--json", *words])
    assert returned == code, err
    return json.loads(out)


def test_prompts_are_shown_as_they_are_asked_with_their_lengths_and_limits(here: Path, capsys: Any):
    told = found(capsys, "-n", "3")
    prompts = told["prompts"]
    assert len(prompts["first"]) == 3 and prompts["why"] is None
    for entry in prompts["first"]:
        asked = entry["text"].removeprefix("<system>Put it in \\boxed{}.</><user>").removesuffix("</><assistant>")
        assert asked == f"What is {int(entry['answer']) - 1}+1?" and entry["tokens"] == len(entry["text"])
    lengths = prompts["lengths"]
    assert lengths["count"] == prompts["train"] == told["sources"][0]["train"]
    assert lengths["longest"] == max(entry["tokens"] for entry in found(capsys, "-n", "60")["prompts"]["first"])
    (limit,) = prompts["limits"]
    assert limit["tokens"] == 60 and limit["key"].startswith("the model's positions") and limit["over"] > 0.9
    limits = found(capsys, "trainer={use_vllm: true, vllm_max_model_length: 1100, max_completion_length: 100}")[
        "prompts"
    ]["limits"]
    assert [(limit["tokens"], limit["over"]) for limit in limits][1:] == [(1000, 0.0)]


def test_rows_are_counted_and_so_is_what_was_dropped(here: Path, capsys: Any):
    told = found(capsys)
    (source,), (bench,) = told["sources"], told["sets"]
    assert (source["rows"], source["repeated"], source["no_answer"], source["tested"]) == (62, 0, 1, 0)
    assert source["train"] + source["held_out"] + sum(part["rows"] for part in source["dropped"]) == 62
    assert {part["why"]: part["rows"] for part in source["dropped"]} == {
        "a prompt once more": 1,
        "asked in evaluate.sets": 1,
    }
    assert (bench["set"], bench["rows"]) == ("bench", 1)


def test_references_are_told_of_and_too_many_unread_ones_are_exit_code_1(here: Path, capsys: Any):
    told = found(capsys)["references"]
    assert [(r["verifier"], r["source"], r["tried"], r["unread"]) for r in told["readings"]] == [
        ("numeric", "data.sources.own", 59, 0),
        ("numeric", "evaluate.sets.bench", 1, 0),
    ]
    lay(here / "rows.jsonl", [(f"What is {i}+1?", "two") for i in range(9)] + [(f"What {i}?", "7") for i in range(91)])
    assert "reward.numeric does not read 8 of 99" in found(capsys, code=1)["references"]["problem"]
    assert found(capsys, "data.unread=.09")["references"]["problem"] is None
    off = found(capsys, "data.unread=null")["references"]
    assert off["readings"] == [] and "data.unread is null" in off["notes"][0]
    code, out, _ = said(capsys, ["data", "recipe.yaml"])
    assert code == 1 and "'two' written as '\\\\boxed{two}' is read as nothing" in out


def test_a_tokenizer_that_cannot_be_reached_leaves_the_rest_and_costs_no_minute(
    here: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    def dead(*_: Any, **given: Any) -> None:
        asked.append(given["timeout"])
        raise OSError("no network")

    asked: list[float] = []
    begun = time.monotonic()
    monkeypatch.delenv("HF_HUB_OFFLINE")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(urllib.request, "urlopen", dead)
    told = found(capsys, "model.path=nobody/has-this", "-n", "1")
    assert told["references"]["readings"] and told["sources"][0]["rows"] == 62
    assert (
        told["prompts"]["lengths"] is None
        and "nobody/has-this is neither a folder nor in the cache" in told["prompts"]["why"]
    )
    assert told["prompts"]["first"][0]["text"].startswith("system: Put it in \\boxed{}.\nuser: What is ")
    code, out, _ = said(capsys, ["data", "recipe.yaml", "model.path=nobody/has-this"])
    assert code == 0 and "prompts in tokens: not known. model.path: nobody/has-this" in out
    assert asked == [5.0, 5.0] and time.monotonic() - begun < 20


def test_a_tokenizer_without_a_template_is_told_of(here: Path, capsys: Any):
    (here / "policy" / "chat_template.jinja").unlink()
    assert "chat_template" in found(capsys)["prompts"]["why"]
    assert found(capsys, "data.system=null", "-n", "1")["prompts"]["first"][0]["text"].startswith("What is")


def test_a_policy_that_is_built_is_not_built_for_it(tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    code, out, err = said(capsys, ["data", "entropostat:quickstart/plain.yaml", "-n", "1"])
    assert code == 0 and not list(tmp_path.iterdir()) and err == ""
    assert "4 tokens" in out and "chain reads all 4,096 references tried of data.sources.hard" in out


def test_code_of_the_user_is_called_only_where_it_is_allowed(here: Path, capsys: Any):
    (here / "mine.py").write_text(
        f"open({str(here / 'called')!r}, 'w').close()\ndef score(completion, example): return 1.0\n"
    )
    words = ["reward=[function: {path: 'mine:score'}]"]
    told = found(capsys, *words)["references"]
    assert not (here / "called").exists() and "--allow-code" in told["notes"][0] and told["problem"] is None
    told = found(capsys, *words, "--allow-code")["references"]
    assert (here / "called").exists() and "gives 4 of 4 reference answers no more than a wrong one" in told["notes"][0]
    broken = ["reward=[function: {path: 'nowhere:score'}, numeric: {}]", "--allow-code"]
    told = found(capsys, *broken)["references"]
    assert "function cannot be tried: there is no module 'nowhere'" in told["notes"][0] and told["readings"]


def test_what_stands_in_the_data_moves_no_cursor_and_shows_no_secret(here: Path, capsys: Any):
    token = "hf_" + "aB3dE5gH7jK9mN1pQ3sT5vW7yZ9bC1dE3f"
    lay(here / "rows.jsonl", [(f"\x1b[2J {token} {i}\r\u202e", f"\x1b[31m {token}") for i in range(40)])
    code, out, _ = said(capsys, ["data", "recipe.yaml", "reward=[exact_match: {}]"])
    assert code == 1 and "\\x1b[2J" in out
    assert not set(out) & {"\x1b", "\r", "\u202e"} and token not in out
    assert token not in said(capsys, ["data", "recipe.yaml", "--json"])[1]


@pytest.mark.parametrize("words", [["-n", "-1"], ["-n", "1001"], ["-n", "x"]])
def test_a_number_of_prompts_is_one(here: Path, capsys: Any, words: list[str]):
    with pytest.raises(SystemExit):
        said(capsys, ["data", "recipe.yaml", *words])


def test_a_run_is_stopped_before_its_model_is_looked_for(here: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch):
    lay(here / "rows.jsonl", [(f"What {i}?", ("one", "two", "six")[i % 3] if i % 10 == 0 else "7") for i in range(100)])
    words = ["train", "recipe.yaml", "model.path=nobody/has-this", "trainer.max_steps=1"]
    code, _, err = said(capsys, words)
    assert code == 2 and not (here / "runs").exists()
    *lines, last = err.strip().splitlines()
    assert last.startswith(
        "mine: reward.numeric does not read 10 of 100 references tried of data.sources.own (100 rows), 10 %"
    )
    assert sum("is read as nothing" in line for line in lines) == 3
    for allowed in (".1", "null"):
        code, _, err = said(capsys, [*words, f"data.unread={allowed}"])
        assert code == 2 and "nobody/has-this is neither a folder nor in the cache" in err.splitlines()[-1], err
    assert "references:" not in err


def test_the_command_brings_no_torch_along():
    code = "import sys, entropostat.cli.data; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
