"""Every source: what it loads, and the one line that it says when it cannot."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
from support.sources import load

from entropostat.data import chain
from entropostat.data.example import DataError, text_of
from entropostat.data.registry import SOURCES
from entropostat.data.sources.reasoning_gym import HASHED
from entropostat.reward.registry import VERIFIERS


def test_chain_prompts_are_distinct_seeded_and_answered():
    examples = load("chain", length=5, size=200)
    assert len({e.prompt for e in examples}) == len({e.id for e in examples}) == 200
    assert examples == load("chain", length=5, size=200)
    assert examples != load("chain", length=5, size=200, seed=1)
    for example in examples:
        assert re.fullmatch(r"[1-9](?:[+*][1-9]){4}\n", example.prompt)
        value = int(example.prompt[0])
        for i in range(1, 9, 2):
            value = eval(f"({value}{example.prompt[i : i + 2]}) % 10", {})
        assert example.answer == str(value)


def test_chain_lists_every_short_prompt_once():
    examples = load("chain", length=2, size=1024)
    assert len(examples) == len({e.prompt for e in examples}) == 162


def test_chain_counts_modulo_the_modulus():
    assert chain.values("9*9+9*2", 100) == [81, 90, 80]
    assert chain.values("9*9+9*2", 7) == [4, 6, 5]
    assert chain.values("2*8+6+4", 10) == [6, 2, 6]


@pytest.mark.parametrize("modulus", [7, 10, 100])
def test_chain_working_and_blurting_both_score(modulus):
    verifier = VERIFIERS.build("chain", {})
    for example in load("chain", length=4, size=20, modulus=modulus):
        expression = example.prompt.strip()
        steps = chain.values(expression, modulus)
        assert verifier.score(chain.working(expression, steps), example) == 1.0
        assert verifier.score(f"={example.answer}", example) == 1.0
        assert verifier.score(f"={(steps[-1] + 1) % modulus}", example) == 0.0


def test_reasoning_gym_loads_a_task_with_its_options():
    examples = load("reasoning_gym", task="chain_sum", size=4, seed=3, options={"min_terms": 2, "max_terms": 2})
    assert len(examples) == 4
    assert all(e.prompt.count("+") + e.prompt.count("-") >= 1 and e.answer for e in examples)
    assert json.loads(json.dumps(dict(examples[2].meta)))["index"] == 2
    assert examples[0].prompt != load("reasoning_gym", task="chain_sum", size=4, seed=4)[0].prompt


def test_reasoning_gym_names_the_nearest_task_and_option():
    with pytest.raises(DataError, match="unknown task 'chain_sm', did you mean 'chain_sum'"):
        load("reasoning_gym", task="chain_sm")
    with pytest.raises(DataError, match="unknown option 'min_term', did you mean 'min_terms'"):
        load("reasoning_gym", task="chain_sum", options={"min_term": 2})
    with pytest.raises(DataError, match="task chain_sum, options"):
        load("reasoning_gym", task="chain_sum", options={"min_terms": -1})


def test_reasoning_gym_mixes_tasks_that_are_scored_by_their_own():
    parts = [{"name": "chain_sum", "weight": 1, "config": {"min_terms": 2}}, {"name": "basic_arithmetic"}]
    examples = load("reasoning_gym", task="composite", size=12, seed=3, options={"datasets": parts})
    assert len({example.prompt for example in examples}) == 12
    verifier = VERIFIERS.build("reasoning_gym", {})
    verifier.prepare()
    assert [verifier.score(example.answer, example) for example in examples] == [1.0] * 12


@pytest.mark.parametrize(
    ("datasets", "said"),
    [
        (None, r"options\.datasets: must be a list"),
        ([], r"options\.datasets: must be a list"),
        ({"name": "chain_sum"}, r"options\.datasets: must be a list"),
        (["chain_sum"], r"datasets\.0: must be a mapping"),
        ([{"name": "chain_sum"}, {}], r"datasets\.1\.name: unknown task"),
        ([{"name": "chain_sm"}], "did you mean 'chain_sum'"),
        ([{"name": "composite", "config": {"datasets": []}}], r"datasets\.0\.name: unknown task"),
        ([{"name": "chain_sum", "wait": 1}], r"datasets\.0: unknown key 'wait'"),
        ([{"name": "chain_sum", "weight": 0}], "must be a number above 0"),
        ([{"name": "chain_sum", "weight": "much"}], "must be a number above 0"),
        ([{"name": "chain_sum", "config": 3}], r"datasets\.0\.config: must be a mapping"),
        ([{"name": "chain_sum", "config": {"min_term": 2}}], "did you mean 'min_terms'"),
        ([{"name": "chain_sum", "config": {"min_terms": "x"}}], "task composite"),
        ([{"name": "chain_sum"}, {"name": "chain_sum"}], "Duplicate"),
    ],
)
def test_a_mixture_that_cannot_be_built_is_one_line(datasets, said):
    with pytest.raises(DataError, match=said) as caught:
        load("reasoning_gym", task="composite", size=2, options={"datasets": datasets})
    assert "\n" not in str(caught.value)


def test_reasoning_gym_tasks_that_hash_strings_need_a_fixed_hash_seed(monkeypatch):
    monkeypatch.delenv("PYTHONHASHSEED", raising=False)
    mix = {"task": "composite", "options": {"datasets": [{"name": "ransom_note", "weight": 1.0, "config": {}}]}}
    for options in ({"task": "ransom_note"}, mix):
        with pytest.raises(DataError, match=r"task ransom_note: .* set PYTHONHASHSEED=0"):
            load("reasoning_gym", **options)
    monkeypatch.setenv("PYTHONHASHSEED", "0")
    assert load("reasoning_gym", task="ransom_note", size=1)


@pytest.mark.slow
def test_reasoning_gym_list_of_hashing_tasks_is_complete(tmp_path):
    """Every task is generated under two hash seeds, in fresh processes."""
    code = (
        "import json, sys\n"
        "from reasoning_gym.factory import DATASETS\n"
        "from entropostat.data.registry import SOURCES\n"
        "tasks = sorted(set(DATASETS) - {'composite'})\n"
        "build = lambda task: SOURCES.build('reasoning_gym', {'task': task, 'size': 8}).load()\n"
        "drawn = {task: [[e.prompt, e.answer] for e in build(task)] for task in tasks}\n"
        "json.dump(drawn, open(sys.argv[1], 'w'))\n"
    )
    runs = []
    for seed in ("1", "2"):
        environment = os.environ | {"PYTHONHASHSEED": seed}
        file = tmp_path / f"{seed}.json"
        subprocess.run([sys.executable, "-c", code, file], env=environment, check=True)
        runs.append(json.loads(file.read_text()))
    assert {task for task in runs[0] if runs[0][task] != runs[1][task]} == set(HASHED)


def write(folder, *lines):
    (folder / "data.jsonl").write_text("\n".join(lines))
    return folder


def test_file_beside_the_recipe_and_in_the_working_directory(tmp_path, monkeypatch):
    write(tmp_path, '{"prompt": "1+1", "answer": 2, "level": 3}', "", '{"prompt": "2+2", "answer": "4", "level": 1}')
    examples = load("file", tmp_path, path="data.jsonl", meta=["level"])
    assert [(e.prompt, e.answer, e.meta) for e in examples] == [("1+1", "2", {"level": 3}), ("2+2", "4", {"level": 1})]
    monkeypatch.chdir(tmp_path)
    assert load("file", path="data.jsonl", size=1)[0].prompt == "1+1"


def test_file_takes_conversations_and_extracts_answers(tmp_path):
    chat = [{"role": "system", "content": "s"}, {"role": "user", "content": "q"}]
    write(tmp_path, json.dumps({"prompt": chat, "answer": "2 and 2 is\n#### 1,004"}))
    (example,) = load("file", tmp_path, path="data.jsonl", answer_regex="#### (.+)")
    assert (example.prompt, example.text, example.answer) == (chat, "q", "1,004")


@pytest.mark.parametrize(
    "lines, options, message",
    [
        (['{"prompt": "a", "answer": 1}', '{"prompt": '], {}, r"line 2, column \d+: bad JSON"),
        (["[1]"], {}, "line 1: list instead of an object"),
        (['{"promt": "a", "answer": 1}'], {}, "line 1: unknown column 'prompt', did you mean 'promt'"),
        (['{"prompt": "a", "anser": 1}'], {}, "unknown column 'answer', did you mean 'anser'"),
        (['{"prompt": 3, "answer": 1}'], {}, "line 1: prompt is 3; a prompt is a text or a list of messages"),
        (["", ""], {}, "holds no rows"),
        (
            ['{"prompt": "a", "answer": "b"}'],
            {"answer_regex": "####"},
            "line 1: answer_regex '####' is not in the answer",
        ),
        (['{"prompt": "a", "answer": "b"}'], {"answer_regex": "("}, r"answer_regex '\(' is not a regular expression"),
        (['{"prompt": "a", "answer": "b"}'], {"meta": ["lvl"]}, "unknown column 'lvl'"),
    ],
)
def test_file_errors_name_file_line_and_fix(tmp_path, lines, options, message):
    write(tmp_path, *lines)
    with pytest.raises(DataError, match=message) as error:
        load("file", tmp_path, path="data.jsonl", **options)
    assert "\n" not in str(error.value)


def test_file_missing_file_names_the_places_tried(tmp_path):
    with pytest.raises(DataError, match=r"no file .*nowhere.jsonl or .*nowhere.jsonl; set path"):
        load("file", tmp_path, path="nowhere.jsonl")


def test_hub_reads_local_folders_in_both_layouts(tmp_path):
    import datasets

    table = datasets.Dataset.from_dict({"question": ["a", "b"], "answer": ["x #### 1", "y #### 2"]})
    table.save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "files").mkdir()
    table.to_parquet(str(tmp_path / "files" / "train.parquet"))
    for path in ("saved", "files"):
        examples = load("hub", tmp_path, path=path, prompt="question", answer_regex="#### (.+)")
        assert [(e.prompt, e.answer) for e in examples] == [("a", "1"), ("b", "2")]
    assert len(load("hub", tmp_path, path="files", prompt="question", size=1)) == 1
    with pytest.raises(DataError, match="row 0: unknown column 'questions', did you mean 'question'"):
        load("hub", tmp_path, path="files", prompt="questions")


def test_hub_that_cannot_be_loaded_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="data source hub: cannot load path 'empty'") as error:
        load("hub", tmp_path, path="empty")
    assert "\n" not in str(error.value)


def test_conversation_without_a_question_is_an_error():
    with pytest.raises(DataError, match="no message with the role 'user'"):
        text_of([{"role": "system", "content": "s"}])


def test_every_source_documents_every_option():
    for name in SOURCES.names():
        cls = SOURCES[name]
        assert cls.__doc__
        assert all(f.metadata.get("doc") for f in cls.__dataclass_fields__.values()), name
