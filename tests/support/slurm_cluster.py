"""A throw-away Slurm cluster of two nodes on the loopback interface: munged, slurmctld and two slurmd, nothing in /etc."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.processes import alive

PACKAGES = ("slurm-wlm", "slurm-client", "munge")
GPUS, CPUS = 4, 4
CONF = """\
ClusterName=mini
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={port}
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/run/munge.sock
CredType=cred/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/run/slurmctld.pid
SlurmdPidFile={folder}/run/slurmd.%n.pid
SlurmctldLogFile={folder}/log/slurmctld.log
SlurmdLogFile={folder}/log/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1,sched_min_interval=0
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
ReturnToService=2
KillWait=3
MinJobAge=600
FirstJobId={job}
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
JobCompType=jobcomp/none
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
SlurmctldParameters=preempt_send_user_signal
GresTypes=gpu
NodeName=n[1-2] NodeAddr=127.0.0.1 NodeHostname={host} Port=[{first}-{last}] CPUs={cpus} RealMemory=8000 Gres=gpu:{gpus}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1 PreemptMode=REQUEUE GraceTime=20
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=10 PreemptMode=OFF
"""


def missing() -> str | None:
    """Why no cluster can be started here; None where one can. Installs Debian's packages where that is possible."""
    if os.geteuid() != 0:
        return "Slurm's daemons need root"
    needed = ("munged", "slurmctld", "slurmd", "sbatch")
    if all(shutil.which(name) for name in needed):
        return None
    if not shutil.which("apt-get"):
        return "Slurm is not installed, and there is no apt-get to install it by"
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    patient = ["-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=120"]
    install = ["install", "-y", "-qq", "--no-install-recommends", *PACKAGES]
    for words in (["update", "-qq"], install):
        try:
            done = subprocess.run(
                ["apt-get", *patient, *words], env=env, capture_output=True, text=True, check=False, timeout=400
            )
        except subprocess.TimeoutExpired:
            return f"apt-get {words[0]} took more than 400 s"
        if done.returncode:
            return f"apt-get {words[0]} failed: {' '.join(done.stderr.split())[-200:]}"
    return next((f"{name} is missing after the installation" for name in needed if not shutil.which(name)), None)


def demand(reason: str | None) -> None:
    """Skips a test that has no cluster and says why, except where CI runs it: there that is a failure."""
    if reason is None:
        return
    text = f"no Slurm cluster can be started here: {reason}"
    if os.environ.get("CI", "").lower() in ("", "0", "false"):
        pytest.skip(text)
    pytest.fail(f"{text}; CI is set, and CI skips none of these tests", pytrace=False)


@contextlib.contextmanager
def cluster() -> Iterator[Path]:
    """Its folder, with slurm.conf in it. A short path: sockets allow about 100 characters."""
    folder = Path(tempfile.mkdtemp(prefix="slurm-", dir="/tmp"))
    folder.chmod(0o755)
    try:
        _start(folder)
        yield folder
    finally:
        _stop(folder)
        shutil.rmtree(folder, ignore_errors=True)


def _start(folder: Path) -> None:
    for name in ("munge", "state", "spool/n1", "spool/n2", "log", "run", "dev"):
        (folder / name).mkdir(parents=True)
    (folder / "munge").chmod(0o700)
    (folder / "munge" / "key").write_bytes(os.urandom(1024))
    (folder / "munge" / "key").chmod(0o600)
    port, first, last = _ports()
    host = socket.gethostname().partition(".")[0]
    # A job's port follows from its id: jobs of two clusters on one machine must not have the same ones.
    job = 1000 + 53 * os.getpid() % 10000
    values = {
        "host": host,
        "port": port,
        "folder": folder,
        "job": job,
        "first": first,
        "last": last,
        "cpus": CPUS,
        "gpus": GPUS,
    }
    (folder / "slurm.conf").write_text(CONF.format(**values))
    for index in range(GPUS):  # only for real device files does Slurm set CUDA_VISIBLE_DEVICES
        os.mknod(folder / "dev" / f"nvidia{index}", 0o600 | stat.S_IFCHR, os.makedev(195, index))
    (folder / "gres.conf").write_text(f"Name=gpu File={folder}/dev/nvidia[0-{GPUS - 1}]\n")
    munge = {
        "key-file": "munge/key",
        "socket": "run/munge.sock",
        "pid-file": "run/munged.pid",
        "seed-file": "munge/seed",
    }
    munge["log-file"] = "log/munged.log"
    _daemon(folder, "munged", *(f"--{k}={folder / v}" for k, v in munge.items()), "--force", "--num-threads=1")
    _daemon(folder, "slurmctld", "-c")
    for node in ("n1", "n2"):
        _daemon(folder, "slurmd", "-N", node)
    end = time.monotonic() + 30
    while _call(folder, "sinfo", "-h", "-p", "main", "-t", "idle", "-o", "%D").strip() != "2":
        if time.monotonic() > end:
            logs = "\n".join(file.read_text()[-1500:] for file in sorted((folder / "log").iterdir()))
            raise RuntimeError(f"the nodes did not come up:\n{_call(folder, 'sinfo')}\n{logs}")
        time.sleep(0.1)


def _stop(folder: Path) -> None:
    """End what was started here, by its process id."""
    if (folder / "run" / "slurmctld.pid").exists():
        _call(folder, "scancel", "--user=root")
        end = time.monotonic() + 15
        while (
            _call(folder, "squeue", "-h").strip() and time.monotonic() < end
        ):  # processes of a job outlive the daemons
            time.sleep(0.1)
    pids = [int(file.read_text()) for file in (folder / "run").glob("*.pid") if file.read_text().strip()]
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 15)
    end = time.monotonic() + 10
    while any(alive(pid) for pid in pids) and time.monotonic() < end:
        time.sleep(0.1)


def _ports() -> tuple[int, int, int]:
    """Of the controller and the two nodes: three free ones in a row."""
    for start in range(17000 + os.getpid() % 2000, 32000, 3):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for port in range(start, start + 3):
                stack.enter_context(socket.socket()).bind(("127.0.0.1", port))
            return start, start + 1, start + 2
    raise RuntimeError("no three free ports in a row")


def _daemon(folder: Path, *words: str) -> None:
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    # Into a file: a daemon keeps its output open, and reading a pipe would wait for its end.
    with (folder / "log" / f"{words[0]}.start").open("w") as log:
        subprocess.run(words, env=env, stdout=log, stderr=log, check=True, timeout=30)


def _call(folder: Path, *words: str) -> str:
    env = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False, timeout=30).stdout
