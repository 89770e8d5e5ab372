"""Rows in the shapes that public sets have, made by hand: what is read of each, or the words in which it is refused."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

ASK = "What is 1 + 1?"
SOLUTION = "One and one\nare $\\boxed{2}$."
TRACE = "<think>\n\\boxed{3}? No.\n</think>\n\nIt is \\boxed{2}."
USER, BOT = {"role": "user", "content": ASK}, {"role": "assistant", "content": SOLUTION}
HUMAN, GPT = {"from": "human", "value": ASK}, {"from": "gpt", "value": SOLUTION}
CHAT = [USER]


@dataclass(frozen=True)
class Shape:
    """A row of ``name``, read with ``options``: into ``prompt`` and ``answer``, or ``refused``."""

    name: str
    row: Mapping[str, Any]
    options: Mapping[str, Any] = field(default_factory=dict)
    prompt: Any = ASK
    answer: str | None = "2"
    refused: str = ""


VERL = {
    "data_source": "openai/gsm8k",
    "prompt": CHAT,
    "ability": "math",
    "reward_model": {"style": "rule", "ground_truth": "2"},
    "extra_info": {"split": "train", "index": 0, "answer": "1+1=<<1+1=2>>2\n#### 2", "question": ASK},
}
TRUTH = {"answer": "reward_model.ground_truth"}
DAPO = "Solve the following math problem step by step.\n\n"
NOTE = '\n\nRemember to put your answer on its own line after "Answer:".'
CODE = {"input_output": '{"inputs": ["1 1"], "outputs": ["2"]}'}

MATHS = (
    Shape("gsm8k", {"question": ASK, "answer": "1+1=<<1+1=2>>2\n#### 2"}, {"prompt": "question", "answer_from": "gsm8k"}),
    Shape("gsm8k by regex", {"question": ASK, "answer": "so\n#### 2"}, {"prompt": "question", "answer_regex": "#### (.+)"}),
    Shape("gsm8k as it is", {"question": ASK, "answer": "so\n#### 2"}, {"prompt": "question"}, answer="so\n#### 2"),
    Shape("verl gsm8k", VERL, TRUTH, CHAT),
    Shape("verl gsm8k, extra_info", VERL, {"prompt": "extra_info.question", "answer": "extra_info.answer", "answer_from": "gsm8k"}),
    Shape("verl math, a mapping in JSON", {**VERL, "reward_model": '{"ground_truth": "2"}'}, TRUTH, CHAT),
    Shape("verl with a number", {**VERL, "reward_model": {"ground_truth": 2}}, TRUTH, CHAT),
    Shape("verl, the answer by its wrong name", VERL, {"answer": "reward_model.groundtruth"}, refused="did you mean 'reward_model.ground_truth'"),
    Shape("verl, the answer by default", VERL, refused="unknown column 'answer', did you mean 'reward_model.ground_truth'\\?; there are: data_source"),
    Shape("verl, the whole mapping", VERL, {"answer": "reward_model"}, refused="reward_model is a mapping, .*name one of its own: reward_model.style, reward_model.ground_truth"),
    Shape("dapo 17k", {**VERL, "prompt": [{"role": "user", "content": DAPO + ASK + NOTE}]}, {**TRUTH, "strip_prefix": DAPO, "strip_suffix": NOTE}, CHAT),
    Shape("dapo 17k processed", {"prompt": ASK, "solution": "2", "source_prompt": CHAT}, {"answer": "solution"}),
    Shape("skywork or1", {**VERL, "reward_model": {"ground_truth": '["\\\\frac{1}{2}"]'}}, TRUTH, CHAT, "\\frac{1}{2}"),
    Shape("skywork or1, two", {**VERL, "reward_model": {"ground_truth": '["2", "4"]'}}, TRUTH, refused="has 2 elements.*answer_list: any"),
    Shape("skywork or1, any", {**VERL, "reward_model": {"ground_truth": '["2", "4"]'}}, {**TRUTH, "answer_list": "any"}, CHAT),
    Shape("skywork or1, the first", {**VERL, "reward_model": {"ground_truth": '["2", "4"]'}}, {"answer": "reward_model.ground_truth.0"}, CHAT),
    Shape("openr1 math", {"problem": ASK, "solution": SOLUTION, "answer": "2", "generations": [TRACE, TRACE], "messages": [USER, BOT]}, {"prompt": "problem"}),
    Shape("openr1 math, of its solution", {"problem": ASK, "solution": SOLUTION}, {"prompt": "problem", "answer": "solution", "answer_from": "boxed"}),
    Shape("mixture of thoughts", {"messages": [USER, {**BOT, "content": TRACE}], "num_tokens": 9, "source": "s"}, {"prompt": "messages", "answer": "messages", "answer_from": "boxed"}, CHAT),
    Shape("mixture of thoughts, all lists of one", {"messages": [USER, BOT]}, {"prompt": "messages", "answer": "messages.1.content", "answer_from": "boxed"}, CHAT),
    Shape("numina math", {"source": "s", "problem": ASK, "solution": SOLUTION, "messages": [USER, BOT]}, {"prompt": "problem", "answer": "solution", "answer_from": "boxed"}),
    Shape("numina math without a box", {"problem": ASK, "solution": "A proof."}, {"prompt": "problem", "answer": "solution", "answer_from": "boxed"}, refused="solution has no closed .*boxed"),
    Shape("numina math tir", {"problem": ASK, "solution": f"```python\nprint(1+1)\n```\n```output\n2\n```\n{SOLUTION}"}, {"prompt": "problem", "answer": "solution", "answer_from": "boxed"}),
    Shape("numina 1.5", {"problem": ASK, "answer": "proof", "question_type": "proof"}, {"prompt": "problem"}, answer="proof"),
    Shape("deepscaler", {"problem": ASK, "answer": "2", "solution": ""}, {"prompt": "problem"}),
    Shape("big math", {"problem": ASK, "answer": "2", "source": "s", "domain": ["Maths -> Sums"], "llama8b_solve_rate": 0.5}, {"prompt": "problem", "meta": ["llama8b_solve_rate"]}),
    Shape("orz 57k", {"0": {"from": "human", "value": ASK}, "1": {"from": "assistant", "ground_truth": {"value": "2"}}}, {"prompt": "0.value", "answer": "1.ground_truth.value"}),
    Shape("math 500", {"problem": ASK, "solution": SOLUTION, "answer": "2", "level": 1, "unique_id": "a"}, {"prompt": "problem"}),
    Shape("aime", {"ID": "2024-I-1", "Problem": ASK, "Solution": "s", "Answer": 204}, {"prompt": "Problem", "answer": "Answer"}, answer="204"),
    Shape("aime, in lower case", {"Problem": ASK, "Answer": 204}, {"prompt": "problem", "answer": "Answer"}, refused="did you mean 'Problem'"),
    Shape("amc", {"id": 0, "problem": ASK, "answer": 142.0}, {"prompt": "problem"}, answer="142.0"),
    Shape("math qa with a percentage", {"question": ASK, "answer": 3.5}, {"prompt": "question"}, answer="3.5"),
    Shape("deepmath", {"question": ASK, "final_answer": "2", "r1_solution_1": TRACE}, {"prompt": "question", "answer": "final_answer"}),
    Shape("an interval", {"prompt": ASK, "answer": "[1, 2]"}, answer="[1, 2]"),
    Shape("a list of one", {"prompt": ASK, "answer": ["2"]}),
    Shape("a list of none", {"prompt": ASK, "answer": []}, refused="answer is an empty list"),
    Shape("true or false", {"prompt": ASK, "answer": True}, answer="true"),
    Shape("not a number", {"prompt": ASK, "answer": float("nan")}, refused="answer: nan is no number"),
    Shape("countdown", {"target": 98, "nums": [44, 19, 35]}, {"template": "Use {nums} to make {target}. Put it in \\boxed{{}}.", "answer": "target"}, "Use [44, 19, 35] to make 98. Put it in \\boxed{}.", "98"),
    Shape("a column with a dot", {"a.b": ASK, "a": {"b": "else"}, "answer": "2"}, {"prompt": "a.b"}),
    Shape("a null mapping", {"prompt": ASK, "reward_model": None}, TRUTH, refused="reward_model is null"),
    Shape("no answer", {"prompt": ASK, "answer": None}, answer=None),
)  # fmt: skip

CODES = (
    Shape("apps", {"question": ASK, "solutions": '["print(2)"]', **CODE}, {"prompt": "question", "answer": None, "meta": ["input_output"]}, answer=None),
    Shape("taco", {"question": ASK, **CODE, "starter_code": ""}, {"prompt": "question", "answer": "input_output"}, answer=CODE["input_output"]),
    Shape("kodcode", {"question": ASK, "solution": "s", "test": "assert f() == 2", "test_info": [{"function_name": "f"}]}, {"prompt": "question", "answer": "test"}, answer="assert f() == 2"),
    Shape("prime code", {**VERL, "reward_model": {"ground_truth": json.dumps({"inputs": ["1"], "outputs": ["2"]})}}, TRUTH, CHAT, '{"inputs": ["1"], "outputs": ["2"]}'),
    Shape("mbpp", {"text": ASK, "test_list": ["assert f() == 2", "assert f() != 3"]}, {"prompt": "text", "answer": None, "meta": ["test_list"]}, answer=None),
    Shape("mbpp, its tests as an answer", {"text": ASK, "test_list": ["assert f() == 2", "assert f() != 3"]}, {"prompt": "text", "answer": "test_list"}, refused="test_list has 2 elements"),
    Shape("humaneval", {"task_id": "0", "prompt": "def f():\n", "canonical_solution": "    return 2\n", "test": "t"}, {"answer": "test"}, "def f():\n", "t"),
    Shape("a function as text", {"prompt": ASK, "function": "def f(): ...", "answer": "2"}),
)  # fmt: skip
