"""One rank tries the references, and all of them stop: before the model is looked for."""

from __future__ import annotations

import json
from pathlib import Path

from support import ranks

WORKER = Path(__file__).with_name("reference_ranks.py")
RECIPE = """
name: unread
output_dir: {folder}/runs
model: {{path: {folder}/no-such-model}}
data: {{sources: {{own: {{file: {{path: rows.jsonl}}}}}}, held_out: 0.5}}
reward: [numeric: {{}}]
trainer: {{max_steps: 1, bf16: false, per_device_train_batch_size: 8, num_generations: 8}}
"""


def test_one_rank_looks_and_all_stop(tmp_path: Path):
    rows = [{"prompt": f"{i}?", "answer": "some" if i % 2 else str(i)} for i in range(40)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (tmp_path / "recipe.yaml").write_text(RECIPE.format(folder=tmp_path))
    ranks.run(WORKER, tmp_path, world=2, strategy="ddp-cpu", seconds=120)
    said = [(tmp_path / f"{rank}.txt").read_text() for rank in range(2)]
    assert [line.partition(" ")[0] for line in said] == ["1", "0"]
    assert all("unread: reward.numeric does not read 20 of 40 references tried" in line for line in said), said
    assert not (tmp_path / "runs").exists()
