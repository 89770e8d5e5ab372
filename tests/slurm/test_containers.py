"""Containers and launchers of a batch job, what they mount, and the GPUs, memory and nodes that it asks for. Needs no cluster."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

import pytest
from support.commands import said
from support.slurm_scripts import RECIPE, a_job, accepted, dry, script

from entropostat.recipe import Recipe, load
from entropostat.recipe.machine_blocks import Slurm
from entropostat.slurm import mounts as mounting
from entropostat.slurm.job import job, problems
from entropostat.slurm.render import render
from entropostat.slurm.tasks import last, spread

__all__ = ["RECIPE"]
SERVER = ("trainer={use_vllm: true, vllm_mode: server}", "model={build: null, path: org/model}")
IMAGE = "slurm.container=docker://a/b:1"
APPTAINER = "slurm.launcher=[apptainer, exec, --nv, image.sif]"


@pytest.fixture(autouse=True)
def no_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "no" / "cache"))


def mounted(text: str) -> list[str]:
    (found,) = set(re.findall(r"'?--container-mounts=([^' ]*)", text))
    return found.split(",")


def elsewhere(folder: Path) -> dict[str, Path]:
    """What a recipe can read, each in a folder of its own, outside of the working directory."""
    places = {
        name: folder / name for name in ("policy", "teacher", "rows", "judge", "rewards", "sets", "base", "cache")
    }
    for place in places.values():
        place.mkdir(parents=True)
    (places["policy"] / "adapter_config.json").write_text(
        json.dumps(
            {"peft_type": "LORA", "base_model_name_or_path": str(places["base"]), "r": 4, "target_modules": ["q_proj"]}
        )
    )
    (places["base"] / "config.json").write_text("{}")
    for name in ("rows", "sets"):
        (places[name] / "all.jsonl").write_text("{}")
    (places["rewards"] / "mine.py").write_text("")
    return places


def reading(places: dict[str, Path], *more: str) -> Recipe:
    source = lambda name: f"{{hub: {{path: {places[name]}, prompt: q, answer: a}}}}"
    rewards = f"[model: {{path: {places['judge']}}}, function: {{path: 'mine:score', folder: {places['rewards']}}}]"
    return load(
        "recipe.yaml",
        [
            *("model.build=null", f"model.path={places['policy']}", f"teacher.path={places['teacher']}"),
            *(f"data.sources.more={source('rows')}", f"evaluate.sets.more={source('sets')}", f"reward={rewards}"),
            *(IMAGE, "output_dir=out", "launch.num_processes=8", *more),
        ],
    )


def test_a_container_sees_all_that_the_job_reads(here: Path, tmp_path_factory, monkeypatch):
    places = elsewhere(tmp_path_factory.mktemp("other"))
    monkeypatch.setenv("HF_HOME", str(places["cache"]))
    recipe = reading(places, f"output_dir={places['base'].parent / 'out'}")
    what = job(recipe, False, None, [])
    wanted = {*map(str, places.values()), str(places["base"].parent / "out")}
    assert {mount.partition(":")[0] for mount in what.mounts} == wanted
    assert all(source == target for source, _, target in (mount.partition(":") for mount in what.mounts))
    text = accepted(render(recipe.slurm, what))
    assert mounted(text) == [f"{here}:{here}", *what.mounts]
    assert f"\nexport HF_HOME={places['cache']}\n" in text
    assert list(mounting.unmountable(recipe, here)) == []


def test_what_lies_in_a_mounted_folder_is_not_mounted_again(here: Path, tmp_path_factory):
    folder = tmp_path_factory.mktemp("other")
    places = elsewhere(folder)
    assert job(reading(places, f"slurm.mounts=['{folder}:{folder}']"), False, None, []).mounts == []
    assert job(reading(places, f"slurm.mounts=['/lustre:{folder}:ro']"), False, None, []).mounts == []
    inside = elsewhere(here / "below")
    assert job(reading(inside), False, None, []).mounts == []


def test_a_link_brings_where_it_leads(here: Path, tmp_path_factory):
    places = elsewhere(tmp_path_factory.mktemp("other"))
    (here / "link").symlink_to(places["judge"])
    recipe = load("recipe.yaml", [IMAGE, "reward=[model: {path: link}]", "launch.num_processes=8"])
    assert job(recipe, False, None, []).mounts == [f"{places['judge']}:{places['judge']}"]


def test_a_pattern_and_a_list_bring_their_folder(here: Path, tmp_path_factory):
    other = tmp_path_factory.mktemp("other")
    (other / "a.jsonl").touch()
    found = mounting._named({"sources": {"x": {"file": {"path": [f"{other}/*.jsonl", "gone/b", 3]}}}}, "data", here)
    assert [(each.key, each.path) for each in found] == [("data.sources.x.file.path", other)]


@pytest.mark.parametrize("name", ["a,b", "a:b"])
@pytest.mark.parametrize("how", [IMAGE, APPTAINER])
def test_a_path_that_no_mount_can_name_is_refused(here: Path, tmp_path_factory, capsys, name: str, how: str):
    place = tmp_path_factory.mktemp("other") / name
    place.mkdir()
    code, out, err = dry(capsys, how, f"reward=[chain: {{}}, model: {{path: '{place}'}}]")
    assert (code, out) == (2, "") and "cannot be mounted: a comma or colon ends a mount" in err
    assert "error: reward.1.model.path: " in err


def test_apptainer_starts_the_training_and_is_told_what_to_bind(here: Path, tmp_path_factory, capsys):
    place = tmp_path_factory.mktemp("other")
    words = ("slurm.python=null", f"reward=[chain: {{}}, model: {{path: {place}}}]", "slurm.mounts=['/data:/data']")
    code, text, err = dry(capsys, APPTAINER, *words)
    assert code == 0, err
    assert "command=(apptainer exec --nv image.sif python -m entropostat launch " in accepted(text)
    assert (
        f"\nexport APPTAINER_BIND={here}:{here},/data:/data,{place}:{place}${{APPTAINER_BIND:+,$APPTAINER_BIND}}\n"
        in text
    )
    assert "--container" not in text


def test_a_launcher_that_is_no_container_keeps_this_machines_python(here: Path, capsys):
    code, text, _ = dry(capsys, "slurm.launcher=[numactl, --interleave=all]", "slurm.python=null")
    assert code == 0 and re.search(r"command=\(numactl --interleave=all \S*/python\S* -m entropostat launch ", text)
    assert "BIND" not in text and "HF_HOME" not in text
    code, _, err = dry(capsys, "slurm.launcher=[podman, run, image]", "slurm.mounts=['/a:/a']")
    assert code == 2 and "slurm.mounts: podman is not told of them; write them into slurm.launcher" in err


def test_words_of_a_launcher_stay_words(tmp_path: Path):
    """Runs the script with its commands replaced by ones that print their words."""
    hostile = 'it\'s $(touch OWNED); "a" *'
    text = script(
        a_job(folder=str(tmp_path), mounts=["/a b:/a b"], bind="APPTAINER_BIND"), launcher=["apptainer", hostile]
    )
    stubs = 'scontrol() { [ "$2" = hostnames ] && echo n1 || echo "X=1 NodeAddr=10.0.0.7 Y=2"; }\n'
    stubs += 'srun() { printf "<%s>\\n" "$APPTAINER_BIND" "$@" >words; }\nSLURM_JOB_ID=12; SLURM_JOB_NODELIST=n1\n'
    done = subprocess.run(
        ["bash"], input=stubs + text, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "words").read_text()
    assert f"<apptainer>\n<{hostile}>\n<python3>\n" in words and "</shared:/shared,/a b:/a b>" in words
    assert not list(tmp_path.rglob("OWNED"))


@pytest.mark.parametrize(
    ("block", "gpus", "asked", "step"),
    [
        ({"gpus_per_node": "h100:4"}, 4, "--gpus-per-node=h100:4", "--gpus-per-node=h100:4"),
        ({"gres": "gpu:h100:4"}, 4, "--gres=gpu:h100:4", "--gres=gpu:h100:4"),
        ({"gres": "gpu:4,nvme:1"}, 4, "--gres=gpu:4,nvme:1", "--gres=gpu:4,nvme:1"),
        ({"gres": "gpu"}, 1, "--gres=gpu", "--gres=gpu"),
        ({"gres": "nvme:1", "gpus_per_node": 4}, 4, "--gres=nvme:1", "--gres=nvme:1"),
        ({"gpus_per_node": 4}, 4, "--gpus-per-node=4", "--gpus-per-node=4"),
    ],
)
def test_gpus_by_type_and_by_resource(block, gpus: int, asked: str, step: str):
    slurm, text = Slurm(**block), accepted(script(**block))
    assert slurm.gpus == gpus and f'#SBATCH "{asked}"' in text
    assert step in re.search(r"^srun .*$", text, re.MULTILINE)[0]
    if "nvme:1" not in block.get("gres", "") or "gpu" in block["gres"]:
        assert not ("--gres" in text and "--gpus-per-node" in text)


def test_a_server_asks_for_gpus_of_the_same_type():
    what = a_job(server=["vllm"], server_gpus=2)
    assert "--gres=gpu:h100:2" in script(what, vllm_nodes=1, gres="gpu:h100:4")
    assert "--gpus-per-node=h100:2" in script(what, vllm_nodes=1, gpus_per_node="h100:4")


@pytest.mark.parametrize("block", [{"mem": "512G"}, {"mem": 0}, {"mem": 4096}])
def test_memory_of_a_node(block):
    assert f'#SBATCH "--mem={block["mem"]}"' in script(**block)


@pytest.mark.parametrize(
    "words",
    [
        *(
            "slurm.mem=lots",
            "slurm.mem=-1",
            "slurm.gpus_per_node=h100",
            "slurm.gpus_per_node=':8'",
            "slurm.gpus_per_node=-1",
        ),
        *("slurm.gres='gpu 4'", "slurm.gres=4", "slurm.array=0-8:0", "slurm.array='0-8:'", "slurm.array=0-8%0"),
        *("slurm.launcher=apptainer", "slurm.launcher=['']", "slurm.vllm_nodes=65"),
    ],
)
def test_what_slurm_would_not_take_is_named(here: Path, capsys, words: str):
    code, out, err = dry(capsys, words)
    assert (code, out) == (2, "") and words.partition("=")[0] in err and len(err.splitlines()) == 1


def test_two_counts_of_gpus_are_one_too_many(here: Path, capsys):
    code, _, err = dry(capsys, "slurm.gres=gpu:2", "launch.num_processes=4")
    assert code == 2 and "slurm.gres: gpu:2 has 2 GPU(s), and slurm.gpus_per_node 4; say it in one of them" in err


@pytest.mark.parametrize(("part", "end"), [("7", 7), ("0-8", 8), ("0-8:2", 8), ("0-9:4", 8), ("3-3:5", 3), ("x", -1)])
def test_the_last_task_of_an_array(part: str, end: int):
    assert last(part) == end


def test_a_stepped_array_counts_its_tasks():
    assert spread("0-9:4", 9) == "0-9:4" and spread("0-2:9%1", 1) == "0-2:9%1"
    with pytest.raises(Exception, match="has lines for the tasks 0 to 7"):
        spread("0-9:4", 8)


def test_a_stepped_array_is_seeds(here: Path, capsys):
    code, text, _ = said(capsys, ["submit", "recipe.yaml", "--dry-run", "--array", "0-8:2%2"])
    assert code == 0 and '#SBATCH "--array=0-8:2%2"' in text and "seed=$SLURM_ARRAY_TASK_ID" in text


def test_several_nodes_hold_copies_of_the_model(here: Path, tmp_path: Path):
    words = [
        *SERVER,
        "slurm={nodes: 1, gpus_per_node: 4, vllm_nodes: 2}",
        "launch={strategy: ddp, num_processes: 4, num_machines: 1}",
    ]
    recipe = load("recipe.yaml", [*words, "trainer.vllm_tensor_parallel_size=2"])
    assert not [lint for lint in problems(recipe) if lint.level == "error"]
    what = job(recipe, False, None, [])
    assert what.replicas == 2 and what.server_gpus == 4
    text = accepted(render(recipe.slurm, what))
    assert '#SBATCH "--nodes=3"' in text and "srun --nodes=2 --ntasks=2 " in text
    assert "--tensor-parallel-size 2 --data-parallel-size 4 --data-parallel-size-local 2" in text
    wrapper = re.search(r"sh -c '(if .*?)' \\\n    serve", text)
    assert wrapper is not None
    told = []
    for rank in ("0", "1"):
        command = ["sh", "-c", wrapper[1], "serve", "echo", "serve"]
        names = {"SERVER_ADDR": "10.0.0.9", "SERVER_PORT": "40001", "SERVER_RPC_PORT": "30001", "SLURM_PROCID": rank}
        told.append(
            subprocess.check_output(command, env={"PATH": os.environ["PATH"], **names}, text=True, timeout=30).strip()
        )
    both = "--data-parallel-address 10.0.0.9 --data-parallel-rpc-port 30001"
    assert told == [
        f"serve --host 0.0.0.0 --port 40001 {both}",
        f"serve --headless --data-parallel-start-rank 2 {both}",
    ]


def test_one_node_of_the_server_takes_no_parallel_data(here: Path):
    words = [
        *SERVER,
        "slurm={nodes: 1, gpus_per_node: 4, vllm_nodes: 1}",
        "launch={strategy: ddp, num_processes: 4, num_machines: 1}",
    ]
    recipe = load("recipe.yaml", [*words, "trainer.vllm_tensor_parallel_size=4"])
    text = render(recipe.slurm, job(recipe, False, None, []))
    assert "data-parallel" not in text and '--nodelist="${hosts[1]}"' in text


def test_a_model_that_one_node_cannot_hold_is_refused(here: Path):
    words = [
        *SERVER,
        "slurm={nodes: 1, gpus_per_node: 4, vllm_nodes: 2}",
        "launch={strategy: ddp, num_processes: 4, num_machines: 1}",
    ]
    recipe = load("recipe.yaml", [*words, "trainer.vllm_tensor_parallel_size=8"])
    assert [lint.key for lint in problems(recipe) if lint.level == "error"] == ["trainer.vllm_tensor_parallel_size"]
