"""The text of a batch script, and what `submit` says before there is one. Needs no cluster."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from support.slurm_scripts import RECIPE, a_job, accepted, dry, script

from entropostat.__main__ import main
from entropostat.recipe import Term, load
from entropostat.slurm.job import settled

__all__ = ["RECIPE"]
HOSTILE = 'it\'s "a" $(touch OWNED) `touch OWNED` \\ ; # %j *'


@pytest.mark.parametrize(
    ("training", "code"),
    [
        ("exit 0", 0),
        ("exit 4", 4),
        # Ended by srun, because another node failed: below any code of its own. The signals may come in either order.
        ("kill -TERM $$", 1),
        ("kill -TERM $PPID; exit 3", 1),
        ("kill -TERM $PPID; exit 0", 0),
    ],
)
def test_a_training_that_was_ended_does_not_hide_the_exit_code_of_the_one_that_failed(training: str, code: int):
    wrapper = re.search(r"sh -c '(.*)' \\\n", script())
    assert wrapper is not None
    command = ["sh", "-c", wrapper[1], "train", "sh", "-c", training]
    done = subprocess.run(command, env={"PATH": "/usr/bin:/bin", "SLURM_NODEID": "0"}, check=False, timeout=30)
    assert done.returncode == code


def test_the_options_of_a_plain_job():
    text = accepted(script(gpus_per_node=8, cpus_per_task=12, partition="long", time="1-00:00:00"))
    options = re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)
    assert options == [
        '"--job-name=tiny"',
        '"--output=/shared/runs/slurm/tiny-%j.log"',
        '"--open-mode=append"',
        '"--chdir=/shared"',
        '"--comment=entropostat:/shared/runs/tiny"',
        '"--nodes=1"',
        '"--ntasks-per-node=1"',
        '"--time=1-00:00:00"',
        '"--gpus-per-node=8"',
        '"--cpus-per-task=12"',
        '"--partition=long"',
        '"--requeue"',
        '"--signal=B:USR1@300"',
    ]
    assert (
        "srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --kill-on-bad-exit=1 --gpus-per-node=8 --cpus-per-task=12 \\\n"
        in text
    )


def test_a_cpu_job_asks_for_no_gpus():
    assert "gpus" not in script(gpus_per_node=0)


def test_an_array_names_runs_and_requeues_by_task():
    text = accepted(script(array="0-4%2"))
    assert '#SBATCH "--array=0-4%2"' in text and "/tiny-%A_%a.log" in text
    assert 'command+=("seed=$SLURM_ARRAY_TASK_ID")' in text
    assert "job=${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID\n" in text and "SEED" not in script()


def test_the_server_has_a_step_of_its_own():
    job = a_job(server=["python3", "-m", "vllm", "serve", "a b"], server_gpus=2)
    text = accepted(script(job, nodes=2, vllm_nodes=1, gpus_per_node=4))
    assert '#SBATCH "--nodes=3"' in text
    assert "srun --nodes=1 --ntasks=1 --ntasks-per-node=1 --kill-on-bad-exit=1 --gpus-per-node=2 " in text
    assert "python3 -m vllm serve 'a b' --host 0.0.0.0" in text and '--nodelist="$train_hosts"' in text
    assert "vllm" not in script(nodes=2)


def test_a_container_sees_the_working_directory():
    text = accepted(script(container="docker://a/b:1", mounts=["/data:/data"]))
    assert (
        "--container-image=docker://a/b:1 --container-mounts=/shared:/shared,/data:/data --container-workdir=/shared"
        in text
    )


def test_extra_options_and_setup_are_the_users_own():
    text = accepted(script(extra=["--mail-type END", "--comment2='a b'"], setup=["module load cuda", "ulimit -n 4096"]))
    assert '#SBATCH "--mail-type" "END"\n#SBATCH "--comment2=a b"\n' in text
    assert "\nmodule load cuda\nulimit -n 4096\n\nset -uo pipefail\n" in text


def test_values_of_any_kind_stay_values(tmp_path: Path):
    """Runs the script with its commands replaced by ones that print their words."""
    folder = str(tmp_path / HOSTILE.replace("\\", ""))
    Path(folder).mkdir()
    job = a_job(
        command=[HOSTILE, "line\nbreak"], recipe=f"name: |\n  {HOSTILE}\nEND_OF_RECIPE\n", folder=folder, cwd=HOSTILE
    )
    text = script(job, container=HOSTILE, mounts=[HOSTILE], account=HOSTILE)
    accepted(text, "error")  # quoted text that looks like code is worth a warning, rightly
    assert r'''"--account=it's \"a\" $(touch OWNED) `touch OWNED` \\ ; # %j *"''' in text
    stubs = 'scontrol() { [ "$2" = hostnames ] && echo n1 || echo "X=1 NodeAddr=10.0.0.7 Y=2"; }\n'
    stubs += 'srun() { printf "<%s>\\n" "$@" >words; }\nSLURM_JOB_ID=12; SLURM_JOB_NODELIST=n1\n'
    done = subprocess.run(
        ["bash"], input=stubs + text, cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 0, done.stderr
    words = (tmp_path / "words").read_text()
    assert f"<{HOSTILE}>\n<line\nbreak>\n<{folder}/tiny-12.yaml>\n<name='tiny-12'>" in words
    assert f"<--container-image={HOSTILE}>" in words and f"<--container-workdir={HOSTILE}>" in words
    assert Path(folder, "tiny-12.yaml").read_text() == job.recipe
    assert "10.0.0.7:20012" in done.stdout
    assert not list(tmp_path.rglob("OWNED"))


@pytest.mark.parametrize(
    ("block", "job", "key"),
    [
        ({"account": "a\nb"}, {}, "slurm.account: '--account=a\\nb' holds a line break"),
        ({"extra": ["--x='a"]}, {}, 'slurm.extra.0: "--x=\'a": no closing quotation; close the quotes'),
        ({"extra": ["mail"]}, {}, "slurm.extra.0: 'mail' is no option"),
        ({}, {"folder": "/a\\b/slurm"}, "output_dir: '/a\\\\b/slurm' holds a backslash"),
        ({}, {"cwd": "/a\nb"}, "working directory: '--chdir=/a\\nb' holds a line break"),
    ],
)
def test_what_cannot_stand_in_a_line_of_options_is_named(block, job, key):
    with pytest.raises(ValueError, match=re.escape(key)):
        script(a_job(**job), **block)


def test_the_job_trains_the_recipe_as_it_was_when_submitted(here: Path, capsys):
    code, text, _ = dry(capsys, "seed=7", "trainer.learning_rate=1.0e-4", "--allow-code")
    assert code == 0 and "command=(python3 -m entropostat launch --allow-code " in accepted(text)
    (frozen,) = re.findall(r"<<'END_OF_RECIPE'\n(.*)^END_OF_RECIPE$", text, re.DOTALL | re.MULTILINE)
    (here / "frozen.yaml").write_text(frozen)
    trained = load(here / "frozen.yaml")
    assert trained == load("recipe.yaml", ["seed=7", "trainer.learning_rate=1.0e-4", "launch.num_processes=8"])
    assert trained.launch.num_processes == 8  # and not what the machine that submits has


def test_a_reward_model_beside_the_recipe_is_named_in_full(here: Path):
    (here / "it's mine").mkdir()
    terms = [Term("judge", "model", {"path": "it's mine"}), Term("hub", "model", {"path": "some/model"})]
    (override,) = settled(replace(load("recipe.yaml", ["launch.num_processes=8"]), reward=terms))
    assert override == f"""reward.judge.path="{here}/it's mine\""""


def test_jobs_that_share_a_machine_take_a_port_each(here: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("MASTER_PORT", "23456")
    words = ["launch", "recipe.yaml", "--dry-run", "launch={num_machines: 1, num_processes: 2}", "slurm.nodes=1"]
    assert main(words) == 0 and " --main_process_port 23456 " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["slurm.nodes=3"], "error: slurm.nodes: 3 node(s) are asked for, but launch.num_machines is 2"),
        (["launch.num_processes=16"], "error: launch.num_processes: 16 processes have 8 GPUs; use 8"),
        (["slurm.vllm_nodes=1"], "error: slurm.vllm_nodes: no training asks for a server"),
        (["trainer={use_vllm: true, vllm_mode: server}"], "error: slurm.vllm_nodes: trainer.vllm_mode is server"),
        (
            ["trainer={use_vllm: true, vllm_mode: server}", "slurm.vllm_nodes=1"],
            "error: slurm.vllm_nodes: the server loads a path, and model.path is not set",
        ),
        (["slurm.gpus_per_node=0", "launch.strategy=fsdp2"], "error: launch.strategy: fsdp2 needs GPUs"),
        (["slurm.mounts=[/a:/a]"], "error: slurm.mounts: there is no container to mount into"),
        (["trainer.num_generations=7"], "error: trainer.num_generations:"),
    ],
)
def test_what_cannot_run_is_said_before_it_queues(here: Path, capsys, words, message):
    code, out, err = dry(capsys, *words)
    assert (code, out) == (2, "") and message in err


def test_idle_gpus_are_a_warning(here: Path, capsys):
    code, _, err = dry(capsys, "launch.num_processes=2")
    assert (
        code == 0
        and "warning: slurm.gpus_per_node: 8 GPUs are asked for, but 2 process(es) use one each; ask for 1" in err
    )


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (['slurm.account="a\\nb"'], "slurm.account: '--account=a\\nb' holds a line break"),
        (["--dependency", "soon"], "--dependency: 'soon' is no job; write 123, 123_4 or afterany:123"),
        (["--array", "a"], "slurm.array"),
    ],
)
def test_mistakes_are_one_line(here: Path, capsys, words, message):
    code, out, err = dry(capsys, *words)
    assert (code, out) == (2, "") and message in err and len(err.splitlines()) == 1


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ("12", "afterok:12"),
        ("12_3", "afterok:12_3"),
        ("12:13", "afterok:12:13"),
        ("afterany:12", "afterany:12"),
        ("afterok:1,afternotok:2", "afterok:1,afternotok:2"),
        ("singleton", "singleton"),
    ],
)
def test_a_dependency_is_a_job_or_what_sbatch_takes(here: Path, capsys, given, made):
    _, text, _ = dry(capsys, "--dependency", given)
    assert f'#SBATCH "--dependency={made}"\n#SBATCH "--kill-on-invalid-dep=yes"\n' in text


def test_without_slurm_submit_and_status_say_what_to_do(here: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("PATH", str(here))
    assert main(["submit", "recipe.yaml"]) == 2
    assert capsys.readouterr().err == (
        "sbatch is not on this machine; use a login node of the cluster, or print the script by --dry-run\n"
    )
    assert main(["status", "12"]) == 2
    assert capsys.readouterr().err == "squeue is not on this machine; use a login node of the cluster\n"
    assert main(["status", "mine"]) == 2
    assert "'mine' is no job" in capsys.readouterr().err


def test_submit_and_status_import_nothing_heavy(here: Path):
    code = (
        "import sys, entropostat.__main__ as cli\n"
        "cli.main(['submit', 'recipe.yaml', '--dry-run'])\n"
        "import entropostat.cli.status\n"
        "loaded = [name for name in ('torch', 'trl', 'transformers', 'datasets', 'accelerate') if name in sys.modules]\n"
        "assert not loaded, loaded\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=60)
