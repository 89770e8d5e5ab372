"""Scores attacks by every task of reasoning-gym, and writes as JSON what they reached. Run as a script: its hook is for good."""

import builtins
import faulthandler
import json
import os
import sys
import time
from pathlib import Path

from reasoning_gym.factory import DATASETS

from entropostat.data.sources.reasoning_gym import ReasoningGym
from entropostat.reward.harmless import EVALUATED, OWN_TEXT
from entropostat.reward.judge import judge
from entropostat.reward.registry import VERIFIERS

CANARY = sys.argv[1]
fired = []
builtins.canary = lambda *a: fired.append("called")


def hook(event, arguments):
    if event == "compile" and arguments[1] == "<unknown>":
        return  # our own look at the syntax, which runs nothing
    text = repr(arguments)
    if (
        event.startswith(("os.system", "subprocess", "socket", "os.fork", "os.exec", "os.posix_spawn", "ctypes"))
        or CANARY in text
    ):
        fired.append(event + " " + text[:80])


class Environment(dict):
    def __getitem__(self, key):
        fired.append("environment")
        return super().__getitem__(key)

    get = __getitem__


CALLS = [
    f"open({CANARY!r}, 'w').write('x')",
    f"__import__('os').system('touch {CANARY}')",
    "__import__('os').environ['PATH']",
    "__import__('os').environ.get('PATH')",
    "__import__('socket').socket()",
    "__import__('os').fork()",
    f"__import__('subprocess').run(['touch', {CANARY!r}])",
    "canary()",
    "\uff43anary()",
]
WRAPS = [
    "{}",
    "[{}]",
    "[[{}]]",
    "({}, 1)",
    "4 + {}",
    "{} * 0",
    "[x for x in [{}]]",
    "f'{{{}}}'",
    "(lambda: {})()",
    "x**{}",
    "sin({})",
    "[1] if {} else 0",
    "Symbol({}).name",
    "[{} for _ in '1']",
    "{{1: {}}}",
    " {}",
    "x\n+ {}",
    "{} # 1",
    "sympify(repr({}))",
    'S("{}")',
    'sympify("{}")',
    "Function({})",
    "+{}",
    "not {}",
    "{}!",
    "0.2[{}]",
    "((({})))",
]
TRICKS = [
    f"[c for c in ().__class__.__base__.__subclasses__() if c.__name__ == 'Popen'][0](['touch', {CANARY!r}])",
    "().__class__.__mro__[1].__subclasses__()",
    "canary",
    "oracle_answer",
    "self.config",
    "entry['answer']",
    "exit()",
    "quit()",
    "breakpoint()",
    "input()",
    "9**9**9",
    "9**9**9**9",
    "(9**99)**99",
    "((9**99)**99)**99",
    "factorial(99999999)",
    "99999999!",
    "x**9**9",
    "2**(3**(4**5))",
    "binomial(10**9, 10**8)",
    "[0] * 10**10",
    "'a' * 10**10",
    "(" * 5000,
    "[" * 5000,
    "-" * 5000 + "1",
    "1" * 100000,
    "1e999999999",
    "gamma(10**9)",
    "sin(" * 300 + "x" + ")" * 300,
    "Integral(exp(x**x), (x, 0, oo))",
    "prime(10**9)",
    "1/" * 300 + "1",
    "__builtins__",
    "eval",
    "\x00",
    "\ud800",
]
payloads = [wrap.replace("{{", "{").replace("}}", "}").replace("{}", call) for wrap in WRAPS for call in CALLS] + TRICKS

verifier = VERIFIERS.build("reasoning_gym", {})
verifier.prepare()
cases = []
for task in sorted(set(DATASETS) - {"composite"}):
    cases.append((task, ReasoningGym(task=task, size=1, seed=3).load()[0]))
for task in sorted({*EVALUATED, *OWN_TEXT}):
    mix = ReasoningGym(
        task="composite", size=1, seed=3, options={"datasets": [{"name": task, "weight": 1, "config": {}}]}
    )
    cases.append((f"composite/{task}", mix.load()[0]))
unrepeatable = [task for task, example in cases if judge(verifier, str(example.answer), example).problem]
sys.addaudithook(hook)
os.environ = Environment(os.environ)  # noqa: B003  (what reads it is to be seen)
report, slow = {}, []
for task, example in cases:
    if task in unrepeatable:
        continue
    right = str(example.answer)
    before = len(fired)
    endings = (" + canary()", ", canary()", " if canary() else 0")
    texts = [*payloads, *(right + ending for ending in endings), f"[{right}, canary()]"]
    for text in texts:
        faulthandler.dump_traceback_later(5, exit=True)
        started = time.perf_counter()
        judge(verifier, text, example)
        took = time.perf_counter() - started
        if took > 2:
            slow.append((task, text[:40], round(took, 1)))
    right_score = judge(verifier, right, example).score if example.answer is not None else None
    report[task] = {"fired": fired[before:], "right": right_score}
Path(sys.argv[2]).write_text(json.dumps({"report": report, "slow": slow, "unrepeatable": unrepeatable}))
