"""What a source makes of a row by its options: templates, prefixes, system prompts, chat templates; and what it refuses of them."""

from __future__ import annotations

import json

import pytest
from support.sources import load
from support.tables import table

from entropostat.data.dataset import with_system
from entropostat.data.example import DataError

ROW = {"question": "1 + 1?", "n": 3, "answer": "2", "prompt": "Solve: 1 + 1?"}
QWEN = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ASKED = "<|im_start|>user\n1 + 1?<|im_end|>\n<|im_start|>assistant\n"
BRIEF = "<|im_start|>system\nBe brief.<|im_end|>\n"


@pytest.fixture
def read(tmp_path):
    def one(*rows, **options):
        (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows or (ROW,))))
        return load("file", tmp_path, path="a.jsonl", **options)

    return one


@pytest.mark.parametrize(
    ("template", "prompt"),
    [
        ("Solve: {question}\n", "Solve: 1 + 1?\n"),
        ("{question} in \\boxed{{}}, {n} lines", "1 + 1? in \\boxed{}, 3 lines"),
        ("{{{question}}}", "{1 + 1?}"),
        ("{question}{question}", "1 + 1?1 + 1?"),
    ],
)
def test_a_template_is_filled(template, prompt, read):
    assert read(template=template)[0].prompt == prompt


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("no column", "names no column, so that all prompts are one"),
        ("{{question}}", "names no column"),
        ("\\boxed{} {question}", r"{} names no column; write {{ and }}"),
        ("{question", "a single '{' at character 1; write {{ and }}"),
        ("question}", "a single '}' at character 9"),
        ("{question!r}", "has '!', and braces take the name of a column"),
        ("{question:>9}", "has ':'"),
        ("{question[0]}", r"has '\['"),
        ("{ question }", "has ' '"),
        ("{question.__class__}", "unknown column 'question.__class__'"),
        ("{question.__class__.__mro__}", "unknown column"),
        ("{queston}", "did you mean 'question'"),
    ],
)
def test_a_template_takes_names_of_columns_and_nothing_else(template, said, read):
    with pytest.raises(DataError, match=said) as caught:
        read(template=template)
    assert "\n" not in str(caught.value)


def test_what_a_cell_holds_is_no_template(read):
    assert (
        read({"question": "{answer} {0} %s {{", "answer": "2"}, template="{question}")[0].prompt == "{answer} {0} %s {{"
    )


def test_prefix_and_suffix_are_lost_where_they_are_and_said_where_they_are_nowhere(read):
    rows = ROW, {**ROW, "prompt": "2 + 2?"}
    assert [e.prompt for e in read(*rows, strip_prefix="Solve: ")] == ["1 + 1?", "2 + 2?"]
    assert [e.prompt for e in read(*rows, strip_prefix="Solve: ", strip_suffix="?")] == ["1 + 1", "2 + 2"]
    assert read(strip_prefix="Solve: ", template="Q: {prompt}")[0].prompt == "Q: 1 + 1?"
    chat = {"prompt": [{"role": "user", "content": "Solve: 1 + 1?"}], "answer": "2"}
    assert read(chat, strip_prefix="Solve: ")[0].text == "1 + 1?"
    with pytest.raises(DataError, match="no prompt begins with strip_prefix 'Sovle"):
        read(strip_prefix="Sovle: ")
    with pytest.raises(DataError, match="prompt is empty"):
        read(strip_prefix="Solve: 1 + 1?")


def test_a_source_has_its_own_system_prompt_whatever_the_run_has(read):
    (own,) = read(prompt="question", system="Be brief.")
    assert own.prompt == [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}]
    assert with_system(own, "Be long.") == own and own.text == "1 + 1?"
    assert read(prompt="question", system="")[0].prompt == [{"role": "user", "content": "1 + 1?"}]


def test_a_chat_template_of_a_source_makes_text_of_its_prompts(read, tmp_path):
    (tmp_path / "qwen.jinja").write_text(QWEN)
    for given in (QWEN, "qwen.jinja"):
        (example,) = read(prompt="question", chat_template=given)
        assert example.prompt == ASKED and example.text == "1 + 1?" and with_system(example, "Be long.") == example
    chat = {
        "prompt": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "1 + 1?"}],
        "answer": "2",
    }
    assert read(chat, chat_template=QWEN)[0].prompt == BRIEF + ASKED
    assert read(prompt="question", chat_template=QWEN, system="Be brief.")[0].prompt == BRIEF + ASKED


def test_it_renders_as_transformers_does(read):
    from transformers.utils.chat_template_utils import render_jinja_template

    template = (
        "{%- if messages[0]['role'] == 'system' %}\n    {{- messages[0].content | trim }}\n{%- endif %}\n"
        "{% for m in messages if m.role == 'user' %}\n  [{{ m.content | tojson }}]{% if loop.last %}!{% endif %}\n{% endfor %}\n"
        "{%- if tools %}{{ raise_exception('none') }}{% endif %}{% generation %}{% endgeneration %}"
    ).replace("{% generation %}{% endgeneration %}", "")
    messages = [{"role": "system", "content": " a "}, {"role": "user", "content": 'é "b"'}]
    (wanted,), _ = render_jinja_template([messages], chat_template=template, add_generation_prompt=True)
    assert read({"prompt": messages, "answer": "2"}, chat_template=template)[0].prompt == wanted


def test_a_rendered_prompt_is_still_known_for_what_it_asks(read):
    plain, rendered = read(prompt="question"), read(prompt="question", chat_template=QWEN)
    with pytest.raises(DataError, match="no prompt is left to train on"):
        table({"a": rendered}, sets={"tested": plain})


@pytest.mark.parametrize(
    ("template", "said"),
    [
        ("gone.jinja", "chat_template: no file .*gone.jinja"),
        ("{{ messages", "is no Jinja template"),
        ("{{ 'a' }}", "reads no `messages`"),
        ("{{ messages[0].content }}{{ eos_token }}", "reads eos_token, which only the tokenizer knows"),
        ("{% for m in messages %}{{ raise_exception('roles\n') }}{% endfor %}", "cannot be rendered: 'roles"),
        ("{% if messages %}{% endif %}", "renders nothing"),
        ("{{ messages.__class__.__mro__[1].__subclasses__() }}", "cannot be rendered: .*__class__"),
        ("{{ messages[0].content.__init__.__globals__ }}", "cannot be rendered: .*unsafe"),
    ],
)
def test_a_chat_template_that_is_none_is_one_line(template, said, read):
    with pytest.raises(DataError, match=said) as caught:
        read(prompt="question", chat_template=template)
    assert "\n" not in str(caught.value)


def test_a_run_has_one_kind_of_prompt(read):
    mixed = {"one": read(prompt="question"), "two": read(prompt="question", system="Be brief.")}
    with pytest.raises(DataError, match=r"one \(.*\) asks text and .*two \(.*\) asks messages; set data.system"):
        table(mixed)
    assert [len(row["prompt"]) for row in table(mixed, system="").rows()] == [1, 2]
    with pytest.raises(DataError, match="or give every source a chat_template"):
        table(
            {"one": read(prompt="question"), "two": read(prompt="question", chat_template="{{ messages }}")}, system=""
        )


def test_settings_of_a_row_that_no_row_could_follow_are_said_before_files_are_looked_for(tmp_path):
    for options, said in (
        ({"answer_regex": "("}, "answer_regex"),
        ({"template": "{"}, "template: a single"),
        ({"chat_template": "{{"}, "chat_template"),
    ):
        with pytest.raises(DataError, match=said):
            load("file", tmp_path, path="nowhere.jsonl", **options)
