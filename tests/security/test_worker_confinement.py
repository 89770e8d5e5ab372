"""What code that came to run in a worker could do: nothing. The worker is given hostile code on purpose."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from entropostat.data.example import Example
from entropostat.reward.scoring import Scorer
from entropostat.reward.verifiers.function import Function
from entropostat.reward.workers import Workers

HOSTILE = '''
import ctypes, mmap, os, resource, signal, socket, subprocess, threading, time
from pathlib import Path

def score(completion, example):
    """Evaluates the completion, as no verifier should. 1 where the attack worked, -1 where it was refused."""
    try:
        result = eval(completion)
    except Exception:
        return -1.0
    return float(result) if isinstance(result, (int, float)) and not isinstance(result, bool) else 1.0
'''
linux = pytest.mark.skipif(sys.platform != "linux", reason="these are Linux's means")


@pytest.fixture(scope="module")
def workers(tmp_path_factory):
    folder = tmp_path_factory.mktemp("hostile")
    (folder / "hostile_reward.py").write_text(HOSTILE)
    (folder.parent / "secret.txt").write_text("token")
    patch = pytest.MonkeyPatch()
    patch.setenv("SECRET_TOKEN", "hf_0123456789")
    verifier = Function(path="hostile_reward:score", folder=str(folder), timeout=5.0)
    made = {sealed: Workers([verifier], count=1, sealed=sealed) for sealed in (True, False)}

    def attack(text: str, sealed: bool = True):
        return made[sealed].run([(verifier, text, Example("p"))])[0]

    attack.folder = folder
    yield attack
    patch.undo()
    for pool in made.values():
        pool.close()


@linux
@pytest.mark.parametrize(
    "attack",
    [
        "open('{folder}/new', 'w')",
        "open('{folder}/hostile_reward.py', 'a')",
        "os.open('{folder}/hostile_reward.py', os.O_RDWR)",
        "os.unlink('{folder}/hostile_reward.py')",
        "os.rename('{folder}/hostile_reward.py', '{folder}/x.py')",
        "os.mkdir('{folder}/new')",
        "os.symlink('a', '{folder}/new')",
        "os.chmod('{folder}/hostile_reward.py', 0)",
        "os.truncate('{folder}/hostile_reward.py', 0)",
        "open('{folder}/../secret.txt').read()",
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "open('/proc/self/environ').read()",
        "open('/proc/%d/environ' % os.getppid()).read()",
        "open('/proc/{trainer}/environ').read()",
        "os.environ['SECRET_TOKEN']",
        "os.environ['HOME']",
        "socket.socket()",
        "socket.socketpair()",
        "socket.getaddrinfo('localhost', 80)",
        "os.fork()",
        "os.system('true') == 0 or 1 / 0",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.posix_spawn('/bin/true', ['true'], {{}})",
        "os.kill({trainer}, 0)",
        "os.kill(os.getppid(), 0)",
        "resource.prlimit({trainer}, resource.RLIMIT_NOFILE, (1, 1))",
        "bytearray(8 << 30)",
        "[os.open('/dev/null', 0) for _ in range(1000)]",
    ],
)
def test_code_in_a_sealed_worker_gets_nowhere(workers, attack):
    text = attack.format(folder=workers.folder, trainer=os.getpid())
    outcome = workers(text)
    assert outcome.score == -1.0, outcome
    assert workers("7").score == 7.0
    assert (workers.folder / "hostile_reward.py").read_text() == HOSTILE


@linux
def test_a_sealed_worker_has_no_string_of_the_environment_in_its_memory(workers):
    text = (
        "int(b'hf_0123456789' in ctypes.string_at(ctypes.c_void_p.in_dll(ctypes.CDLL(None), 'environ').value or 0, 8))"
    )
    assert (
        workers(
            "len([n for n in os.environ if n not in ('LANG', 'LC_ALL', 'LC_CTYPE', 'OMP_NUM_THREADS', 'PYTHONHASHSEED', 'TZ')])"
        ).score
        == 0.0
    )
    assert workers(text).score in (0.0, -1.0)


def test_code_of_the_user_is_trusted_with_environment_files_and_processes(workers):
    assert workers("int(os.environ['SECRET_TOKEN'] == 'hf_0123456789')", sealed=False).score == 1.0
    assert workers(f"len(open('{workers.folder}/../secret.txt').read())", sealed=False).score == 5.0
    assert workers("int(os.system('true') == 0)", sealed=False).score == 1.0
    assert workers("int(socket.socket().fileno() > 0)", sealed=False).score == 1.0


def test_verifiers_of_ours_are_sealed_and_functions_are_not():
    from entropostat.reward.registry import VERIFIERS

    scorer = Scorer({"math": VERIFIERS.build("math_verify", {}), "f": Function(path="a:b")}, allow_code=True)
    sealed = {name: scorer._pool(verifier)._sealed for name, verifier in scorer.verifiers.items()}
    assert sealed == {"math": True, "f": False}


TRAINER = """
import os, sys, threading, time
from entropostat.data.example import Example
from entropostat.reward.verifiers.function import Function
from entropostat.reward.workers import Workers
if __name__ == "__main__":
    verifier = Function(path="endless_reward:score", timeout=300.0)
    workers = Workers([verifier], count=2, sealed=sys.argv[1] == "sealed")
    print(int(workers.run([(verifier, "pid", Example("p"))])[0].score), flush=True)
    workers.run([(verifier, "hang", Example("p"))] * 2)
"""
ENDLESS = """
import os, time

def score(completion, example):
    if completion == "pid":
        return os.getpid()
    while True:
        pass
"""


@pytest.mark.parametrize("sealed", ["sealed", "trusted"])
def test_workers_end_with_a_trainer_that_was_killed(tmp_path, sealed):
    (tmp_path / "endless_reward.py").write_text(ENDLESS)
    (tmp_path / "trainer.py").write_text(TRAINER)
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    trainer = subprocess.Popen(
        [sys.executable, "trainer.py", sealed],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONPATH": path},
    )
    worker = int(trainer.stdout.readline())
    time.sleep(0.5)
    trainer.send_signal(signal.SIGKILL)
    trainer.wait()
    deadline = time.monotonic() + 10
    while running(worker):
        assert time.monotonic() < deadline, "a worker lives on"
        time.sleep(0.05)


def running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("method", ["forkserver", "spawn"])
def test_a_script_from_standard_input_is_one_line(method):
    script = (
        "import entropostat.reward.workers as w, multiprocessing, time\n"
        f"w._context = lambda libraries: multiprocessing.get_context({method!r})\n"
        "from entropostat.faults import RunFault\n"
        "from entropostat.reward.scoring import Scorer\n"
        "from entropostat.reward.registry import VERIFIERS\n"
        "try:\n    Scorer({'m': VERIFIERS.build('math_verify', {})}).check()\n"
        "except RunFault as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-"], input=script, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.count("\n") == 1 and "read from standard input" in done.stdout and not done.stderr


def test_workers_that_never_start_are_one_line_after_a_while(tmp_path):
    (tmp_path / "unguarded.py").write_text(
        "import entropostat.reward.workers as w, multiprocessing, sys\n"
        "w.START = 3.0\n"
        "w._context = lambda libraries: multiprocessing.get_context('spawn')\n"
        "from entropostat.faults import RunFault\n"
        "from entropostat.reward.scoring import Scorer\n"
        "from entropostat.reward.registry import VERIFIERS\n"
        "try:\n    Scorer({'m': VERIFIERS.build('math_verify', {})}).check()\n"
        "except RunFault as error:\n    print('fault:', error)\n"
    )
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "unguarded.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=90,
        env=os.environ | {"PYTHONPATH": path},
        check=False,
    )
    assert "fault: no worker process of the verifiers has started within 3 s" in done.stdout
    assert done.returncode == 0
