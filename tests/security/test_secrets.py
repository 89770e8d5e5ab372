"""No token, key or password that somebody put into a recipe or on the command line is printed or written anywhere."""

from __future__ import annotations

import contextlib
import json
import random
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML
from support.tokens import KINDS, leaks, misspelt

from entropostat.__main__ import main
from entropostat.catalog import load as catalog
from entropostat.faults import RunFault, SetupError
from entropostat.recipe import RecipeError, load
from entropostat.recipe.errors import show
from entropostat.recipe.extends import RECIPES
from entropostat.recipe.generation_keys import TRANSFORMERS, VLLM
from entropostat.recipe.held_secrets import HASHES, PROSE
from entropostat.secret_names import names_secret, resembles_secret
from entropostat.secrets import FORMS, redacted, secret_in

GOOD = """\
name: good
model: {build: {}}
data: {sources: {easy: {chain: {length: 2}}}}
reward: [chain: {}]
"""
SECRET_NAMES = [
    "hub_token",
    "api_key",
    "password",
    "hf_token",
    "wandb_api_key",
    "access_token",
    "secret_key",
    "passphrase",
]


def leaves(schema: dict, node: dict | bool, path: tuple[str, ...] = ()) -> dict[tuple[str, ...], None]:
    """Paths of everything that has a value of its own."""
    paths: dict[tuple[str, ...], None] = {}
    if isinstance(node, bool) or len(path) > 7:
        return {path: None}
    while "$ref" in node:
        node = schema["$defs"][node["$ref"].rpartition("/")[2]]
    for inner in (*node.get("anyOf", ()), *node.get("oneOf", ()), *node.get("allOf", ())):
        paths |= leaves(schema, inner, path)
    for key, inner in node.get("properties", {}).items():
        paths |= leaves(schema, inner, (*path, key))
    if isinstance(node.get("items"), dict):
        paths |= leaves(schema, node["items"], (*path, "[]"))
    if isinstance(node.get("additionalProperties"), dict):
        paths |= leaves(schema, node["additionalProperties"], (*path, "mine"))
    return paths or {path: None}


def placed(path: tuple[str, ...], value: object) -> object:
    for key in reversed(path):
        value = [value] if key == "[]" else {key: value}
    return value


SCHEMA = json.loads((RECIPES / "schema.json").read_text())
LEAVES = list({path[-2:]: path for path in leaves(SCHEMA, SCHEMA) if path}.values())
"""One place of each: a controller's options stand below every number that it may turn."""


def complaint(value: object) -> str:
    with Path("x.yaml").open("w") as stream:
        YAML(typ="safe", pure=True).dump({"extends": "good.yaml", **value}, stream)
    with pytest.raises(RecipeError) as caught:
        load("x.yaml")
    return str(caught.value)


def test_the_schema_was_walked():
    assert len(LEAVES) > 300 and {len(path) for path in LEAVES} >= {1, 2, 3, 4, 5}


@pytest.mark.parametrize("part", range(4))
def test_a_secret_of_any_kind_at_any_leaf_is_refused_and_not_repeated(folder, part):
    dice = random.Random(part)
    kinds = list(KINDS)
    for index, path in enumerate(LEAVES[part::4]):
        kind = kinds[(index + part * 7) % len(kinds)]
        if (path[-1] in HASHES and kind == "wandb") or path[-1] in PROSE:
            kind = "github"
        text, secret = KINDS[kind](dice)
        said = complaint(placed(path, text))
        assert not leaks(secret, said), (path, kind, said)
        assert "secret" in said or "there is no term" in said or "extends" in path, (path, kind, said)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_refused_wherever_it_is_put(folder, kind):
    dice = random.Random(kind)
    text, secret = KINDS[kind](dice)
    for value in (
        {"hub_tokn": text},
        {"trainer": {"hub_tokn": text}},
        {"trainer": {"learning_rate": text}},
        {"trainer": {"kind": text}},
        {"trainer": {text: 1}},
        {"trainer": [text]},
        {"objective": {"penalties": [{"kl_ref": {"coef": {text: 1}}}]}},
        {"objective": {"penalties": [{text: {}}]}},
        {"reward": {"edit": {text: {}}}},
        {"reward": {text: {}}},
        {"data": {"sources": {text: {"chain": {}}}}},
        {"slurm": {"setup": ["module load cuda", text]}},
        {"slurm": {"extra": [f"--export={text}" if kind != "wandb" else text]}},
        {"tracking": {"wandb": {"entity": text}}},
        {"model": {"path": text}},
        {text: text},
        {"seed": text},
        {"seed": {"x": [text, {"y": text}]}},
        {"extends": ["good.yaml", text]},
    ):
        said = complaint(value)
        assert not leaks(secret, said), (value, said)


@pytest.mark.parametrize("name", SECRET_NAMES)
def test_a_misspelt_name_shows_no_value_however_plain(folder, name):
    dice = random.Random(name)
    for _ in range(30):
        key = dice.choice(["{}", "{}", "my_{}", "X-{}"]).format(misspelt(name, dice))
        if dice.random() < 0.3:
            key = key.upper()
        value = dice.choice(["swordfish", "hunter2hunter2", ["swordfish"], {"a": "swordfish"}, 998877665544])
        for block in ({key: value}, {"trainer": {key: value}}, {"tracking": {"wandb": {key: value}}}):
            said = complaint(block)
            assert not any(leaks(part, said, 6) for part in ("swordfish", "hunter2", "998877")), (key, said)


@pytest.mark.parametrize("command", ["plan", "train", "launch --dry-run", "submit --dry-run", "sweep --dry-run"])
def test_no_command_prints_or_writes_one(folder, capfd, command):
    dice = random.Random(command)
    words = command.split()
    for kind, make in KINDS.items():
        text, secret = make(dice)
        for given_ in (
            [f"hub_tokn={text}"],
            [f"trainer.hub_tokn={text}"],
            [f"slurm.setup=[{json.dumps(text)}]"],
            [f"trainer.learning_rate={text}"],
            [f"nonsense.{text}=1"],
            [f"nonsense..hub_tokn={text}"],
            [f"model.path={json.dumps(text)}"],
            [f"name={json.dumps(text)}"],
            [text],
            [f"--{text}"],
        ):
            try:
                code = main([*words, "good.yaml", *given_])
            except SystemExit as left:
                code = left.code
            said = "".join(capfd.readouterr())
            assert code in (1, 2), (kind, given_, said)
            assert not leaks(secret, said), (kind, given_, said)
        assert not main_says(capfd, [text], secret)
    written = "".join(str(file) + file.read_text() for file in folder.rglob("*") if file.is_file())
    assert sorted(file.name for file in folder.iterdir()) == ["good.yaml"] and written.endswith(GOOD)


def main_says(capfd, argv: list[str], secret: str) -> bool:
    with contextlib.suppress(SystemExit):
        main(argv)
    return leaks(secret, "".join(capfd.readouterr()))


def test_a_grid_of_secrets_is_refused(folder, capfd):
    text, secret = KINDS["hugging face"](random.Random(0))
    assert main(["sweep", "good.yaml", "--grid", f"trainer.hub_tokn={text},b", "--dry-run"]) == 2
    assert not leaks(secret, "".join(capfd.readouterr()))


def test_a_line_of_a_fault_shows_none():
    for kind, make in KINDS.items():
        text, secret = make(random.Random(kind))
        if kind in ("wandb",):
            continue  # beside nothing that names it, it is the hash of a commit
        for fault in (SetupError, RunFault):
            assert not leaks(secret, str(fault(f"x: a server refuses: {text}"))), kind


def test_it_says_where_secrets_belong(folder):
    assert "HF_TOKEN, WANDB_API_KEY" in complaint({"trainer": {"hub_tokn": "abcdefgh"}})
    said = complaint({"slurm": {"setup": ["export WANDB_API_KEY=abcdefgh"]}})
    assert "slurm.setup.0" in said and "source a file" in said


ORDINARY = [
    "source ~/.secrets",
    "export HF_TOKEN=$(cat ~/.hf_token)",
    "export HF_TOKEN=$MY_TOKEN WANDB_API_KEY=${KEY}",
    'export WANDB_API_KEY="$(< ~/key)"',
    "export SSH_KEY=/home/me/.ssh/id_ed25519",
    "export TOKENIZERS_PARALLELISM=false USE_TOKEN=true SORT_KEY=2",
    "pip install git+https://github.com/wandb/wandb@0123456789abcdef0123456789abcdef01234567",
    "git checkout 0123456789abcdef0123456789abcdef01234567",
    "--mail-user=me@example.org",
    "--export=ALL,HF_TOKEN",
    "ssh://git@github.com/x/y.git",
    "http://10.0.0.1:8000/v1",
    "https://host/data.jsonl?sort_key=name&page=2",
    "Qwen/Qwen2.5-7B-Instruct",
    "hf-internal-testing/tiny-random-LlamaForCausalLM",
    "hf_internal_testing",
    "sk-learn-classification-benchmark",
    "/home/me/.cache/huggingface/hub/models--x--y/snapshots/0123456789abcdef0123456789abcdef01234567",
    "nvcr.io/nvidia/pytorch:25.01-py3@sha256:" + "0123456789abcdef" * 4,
    "sort --key 2 tokens=512",
    "max_tokens=512,stop_token=</s>",
    "grpo-qwen2-5-7b-clip-cov-entropy-bonus-adaptive-target-0-2-seed-0-lr-1e-6-batch-512-group-16-x",
]


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_is_no_secret(text):
    assert secret_in(text) is None and redacted(text) == text


def test_a_hash_is_a_revision_and_not_a_key(folder):
    commit = "0123456789abcdef0123456789abcdef01234567"
    assert load("good.yaml", [f"model={{path: a/b, revision: '{commit}'}}"]).model.revision == commit


def test_text_for_the_policy_may_speak_of_passwords(folder):
    text = "Never print PASSWORD=swordfish, nor an Authorization: Basic header."
    assert load("good.yaml", [f"data.system={json.dumps(text)}"]).data.system == text


def test_no_recipe_of_ours_holds_anything_like_a_secret():
    for file in RECIPES.rglob("*.yaml"):
        assert secret_in(file.read_text()) is None, file


def test_no_key_of_ours_but_the_token_of_the_hub_is_the_name_of_a_secret():
    keys = {key for path in LEAVES for key in path} | {*TRANSFORMERS, *VLLM}
    keys |= {field.name for fields in catalog().trainer.values() for field in fields}
    assert {key for key in keys if names_secret(key) or resembles_secret(key)} == {"hub_token"}


@given(
    st.sampled_from(sorted(set(KINDS) - {"wandb"})),
    st.integers(0, 10**9),
    st.sampled_from(" \n'\"(,;"),
    st.text(max_size=30),
)
@settings(max_examples=150, deadline=None)
def test_nothing_around_it_gives_a_secret_away(kind, seed, edge, rest):
    text, secret = KINDS[kind](random.Random(seed))
    for whole in (f"{rest}{edge}{text}", f"{text} {rest}", f"{rest} {text} {text}"):
        if kind != "pem":
            assert not leaks(secret, redacted(whole)), whole
        assert not leaks(secret, show({"a": [whole]})), whole


@pytest.mark.parametrize(
    "begin", ["a-", "sk-a", "eyJaaaaaaaa-", "x://", "x://a:", "KEY=", '"', "'a':", "--a ", "wandb ", "?a&", "hf_", "A"]
)
def test_the_time_grows_with_the_text_and_no_faster(begin):
    def took(size: int) -> float:
        text = begin * (size // len(begin))
        before = time.process_time()
        for form in FORMS:
            form.matches(text)
        return time.process_time() - before

    small = min(took(20_000) for _ in range(3))
    assert took(80_000) < 8 * small + 0.05
