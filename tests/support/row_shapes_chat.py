"""Rows of conversations, preferences, choices, tools and pictures, as ``row_shapes`` has them of maths."""

from __future__ import annotations

import json

from support.row_shapes import ASK, BOT, CHAT, GPT, HUMAN, SOLUTION, USER, Shape

SYSTEM = {"role": "system", "content": "Be brief."}
MORE = {"role": "user", "content": "And 2 + 2?"}
LINES = f"\n\nHuman: {ASK}\n\nAssistant: Two.\n\nHuman: And 2 + 2?\n\nAssistant: Four."
LONG = [USER, {"role": "assistant", "content": "Two."}, MORE]
FUNCTION = {"name": "add", "description": "adds", "parameters": {"a": {"type": "int"}}}
FREE = {"answer": None}
PARTS = [{"type": "text", "text": "What is "}, {"type": "text", "text": "1 + 1?"}]
SEEN = [{"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": ASK}]

CHATS = (
    Shape("role and content", {"prompt": [SYSTEM, USER], "answer": "2"}, prompt=[SYSTEM, USER]),
    Shape("in JSON", {"prompt": json.dumps(CHAT), "answer": "2"}, prompt=CHAT),
    Shape("as Python prints it", {"prompt": str(CHAT), "answer": "2"}, refused="messages as Python prints them; save the rows as jsonl"),
    Shape("keys of all rows", {"prompt": [{"role": None, "from": "human", "content": None, "value": ASK}], "answer": "2"}, prompt=CHAT),
    Shape("one message", {"prompt": USER, "answer": "2"}, prompt=CHAT),
    Shape("further keys", {"prompt": [{**USER, "name": "ann", "weight": None}], "answer": "2"}, prompt=CHAT),
    Shape("parts of text", {"prompt": [{"role": "user", "content": PARTS}], "answer": "2"}, prompt=CHAT),
    Shape("a picture as a part", {"prompt": [{"role": "user", "content": SEEN}], "answer": "2"}, refused="prompt.0 has a part of type 'image_url'; prompts are text"),
    Shape("a prompt that is answered", {"prompt": [USER, BOT], "answer": "2"}, refused="prompt ends with assistant"),
    Shape("messages that are answered", {"messages": [USER, BOT]}, {"prompt": "messages", **FREE}, CHAT, None),
    Shape("messages answered twice", {"messages": [USER, BOT, BOT]}, {"prompt": "messages", **FREE}, refused="messages ends with assistant"),
    Shape("messages of three turns", {"messages": [*LONG, BOT]}, {"prompt": "messages", **FREE}, LONG, None),
    Shape("messages without a user", {"messages": [SYSTEM, BOT]}, {"prompt": "messages", **FREE}, refused="no message with the role 'user'"),
    Shape("an unknown role", {"prompt": [{"role": "usr", "content": ASK}], "answer": "2"}, refused="prompt.0: unknown role 'usr', did you mean 'user'"),
    Shape("sharegpt", {"conversations": [{"from": "system", "value": "Be brief."}, HUMAN, GPT]}, {"prompt": "conversations", "answer": "conversations", "answer_from": "boxed"}, [SYSTEM, USER]),
    Shape("sharegpt, the question alone", {"conversations": [HUMAN, GPT]}, {"prompt": "conversations.0.value", "answer": "conversations.1.value"}, answer=SOLUTION),
    Shape("sharegpt with a tool", {"conversations": [HUMAN, {"from": "gpt", "value": "add(1, 1)"}, {"from": "observation", "value": "2"}, GPT]}, {"prompt": "conversations", **FREE}, [USER, {"role": "assistant", "content": "add(1, 1)"}, {"role": "tool", "content": "2"}], None),
    Shape("sharegpt that begins with an answer", {"conversations": [GPT, HUMAN]}, {"prompt": "conversations", **FREE}, [BOT, USER], None),
    Shape("alpaca", {"instruction": "Add.", "input": "1 + 1", "output": "2"}, {"template": "{instruction}\n{input}", "answer": "output"}, "Add.\n1 + 1"),
    Shape("alpaca by its instruction", {"instruction": ASK, "input": "", "output": "2"}, {"prompt": "instruction", "answer": "output"}),
    Shape("alpaca by default", {"instruction": ASK, "input": "", "output": "2"}, {"answer": "output"}, refused="unknown column 'prompt', did you mean 'instruction'"),
    Shape("dolly", {"instruction": ASK, "context": "", "response": "2"}, {"prompt": "instruction", "answer": "response"}),
    Shape("a null in a template", {"q": ASK, "input": None, "answer": "2"}, {"template": "{q}{input}"}, refused="input is None, which is no text"),
    Shape("ultrafeedback", {"prompt": ASK, "prompt_id": "a", "chosen": [USER, BOT], "rejected": [USER, BOT], "score_chosen": 8.0}, FREE, ASK, None),
    Shape("ultrafeedback by its chosen", {"chosen": [USER, BOT], "rejected": [USER, BOT]}, {"prompt": "chosen", **FREE}, CHAT, None),
    Shape("ultrafeedback, scored", {"instruction": ASK, "completions": [{"model": "a", "response": "2"}]}, {"prompt": "instruction", **FREE}, ASK, None),
    Shape("hh", {"chosen": LINES, "rejected": LINES}, {"prompt": "chosen", **FREE}, LONG, None),
    Shape("hh that waits", {"prompt": f"\n\nHuman: {ASK}\n\nAssistant:"}, FREE, CHAT, None),
    Shape("hh as it is", {"prompt": f"Human: {ASK}\n\nAssistant:"}, {"template": "{prompt}", **FREE}, f"Human: {ASK}\n\nAssistant:", None),
    Shape("tldr", {"prompt": "SUBREDDIT: r/a\nPOST: b\nTL;DR:", "completion": " c"}, FREE, "SUBREDDIT: r/a\nPOST: b\nTL;DR:", None),
    Shape("tldr, comparisons", {"info": {"post": ASK, "title": "t"}, "summaries": [{"text": "a"}, {"text": "b"}], "choice": 1}, {"prompt": "info.post", "answer": "choice"}, answer="1"),
    Shape("helpsteer", {"prompt": ASK, "response": "2", "helpfulness": 4}, {"answer": "helpfulness"}, answer="4"),
    Shape("arena", {"conversation_a": [USER, BOT], "conversation_b": [USER, BOT], "winner": "model_a"}, {"prompt": "conversation_a", "answer": "winner"}, CHAT, "model_a"),
    Shape("mt bench", {"prompt": [ASK, "And 2 + 2?"], "category": "c"}, FREE, refused="these are 2 turns or texts.*prompt.0"),
    Shape("mt bench, its first turn", {"prompt": [ASK, "And 2 + 2?"]}, {"prompt": "prompt.0", **FREE}, ASK, None),
    Shape("one text in a list", {"prompt": [ASK], "answer": "2"}),
    Shape("mmlu", {"question": ASK, "choices": ["1", "2"], "answer": 1}, {"template": "{question}\nA. {choices.0}\nB. {choices.1}"}, f"{ASK}\nA. 1\nB. 2", "1"),
    Shape("arc", {"question": ASK, "choices": {"text": ["1", "2"], "label": ["A", "B"]}, "answerKey": "B"}, {"template": "{question} {choices.text.0} or {choices.text.1}?", "answer": "answerKey"}, f"{ASK} 1 or 2?", "B"),
    Shape("fewer choices", {"question": ASK, "choices": ["1"], "answer": 0}, {"template": "{question} {choices.1}"}, refused="unknown column 'choices.1'"),
    Shape("squad", {"question": ASK, "answers": {"text": ["2", "two"], "answer_start": [0, 4]}}, {"prompt": "question", "answer": "answers.text", "answer_list": "any"}),
    Shape("trivia", {"question": ASK, "answer": {"value": "2", "aliases": ["two"]}}, {"prompt": "question"}, refused="name one of its own: answer.value, answer.aliases"),
    Shape("bfcl", {"id": "a", "question": [[USER]], "function": [FUNCTION]}, {"prompt": "question", **FREE}, refused="has function, which a rollout does not take"),
    Shape("bfcl, written out", {"question": [[USER]], "function": [FUNCTION]}, {"template": "{function}\n{question.0.0.content}", **FREE}, f"{json.dumps([FUNCTION])}\n{ASK}", None),
    Shape("bfcl of two turns", {"question": [[USER], [MORE]]}, {"prompt": "question", **FREE}, refused="these are 2 turns or texts"),
    Shape("tools", {"messages": CHAT, "tools": json.dumps([{"type": "function", "function": FUNCTION}]), "answer": "2"}, {"prompt": "messages"}, refused="has tools, which a rollout does not take"),
    Shape("tools that are none", {"messages": CHAT, "tools": "[]", "answer": "2"}, {"prompt": "messages"}, CHAT),
    Shape("calls of tools", {"messages": [USER, {"role": "assistant", "content": None, "tool_calls": [{"id": 1}]}, {"role": "tool", "content": "2"}, BOT]}, {"prompt": "messages", **FREE}, refused="messages.1 calls a tool"),
    Shape("geometry", {"prompt": "<image>" + ASK, "images": [{"bytes": "x"}], "answer": "2"}, refused="has images, and prompts are text"),
    Shape("no picture", {"prompt": ASK, "image": None, "answer": "2"}),
    Shape("a mapping of messages", {"prompt": {"messages": CHAT}, "answer": "2"}, refused="name one of its own: prompt.messages"),
    Shape("a number for a prompt", {"prompt": 3, "answer": 1}, refused="prompt is 3.*template, such as '{prompt}'"),
    Shape("an empty prompt", {"prompt": " \n", "answer": "2"}, refused="prompt is empty"),
    Shape("an empty last turn", {"prompt": [{"role": "user", "content": ""}], "answer": "2"}, refused="the last turn of prompt is empty"),
    Shape("no prompt", {"prompt": None, "answer": "2"}, refused="prompt is None; leave such rows out"),
)  # fmt: skip
