"""Completions of an evaluation by vLLM, where training has it: through TRL's own object, with the weights of this moment."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from entropostat.trainers.evaluation.draws import Chunk, Draw, Drawn, EvaluateSettings


def drawn_by_engine(
    trainer: Any, chunks: Sequence[Chunk], settings: EvaluateSettings, rank: int = 0, world: int = 1
) -> Draw:
    """Draws everything that this rank shall measure, at once: sent weights and an engine that sleeps between two calls gather the
    model by themselves, so nothing else may have gathered it.

    All ranks ask equally often and equally much, as TRL's object wants it: one without a chunk of its own, or with a short
    one, asks for something that nobody reads. vLLM's random numbers are its own, and ``settings.seed`` does not reach them: TRL
    hands over each sample as a prompt, and with one seed all samples of a prompt would be the same.
    """
    engine = trainer.vllm_generation
    engine.sync_weights()
    trainer._last_loaded_step = trainer.state.global_step  # or training would send the same weights again
    drawn: dict[tuple[str, int], Drawn] = {}
    for begin in range(0, len(chunks), world):
        together = chunks[begin : begin + world]
        rows = max(len(chunk.prompts) for chunk in together)
        mine = together[min(rank, len(together) - 1)]
        prompts = mine.prompts + [mine.prompts[-1]] * (rows - len(mine.prompts))
        with _set(engine, settings, greedy=False):
            samples = _asked(engine, prompts, settings.samples)
        greedy = []
        if settings.greedy:
            with _set(engine, settings, greedy=True):
                greedy = _asked(engine, prompts, 1)
        if rank < len(together):
            count = len(mine.prompts)
            drawn[mine.set, mine.start] = Drawn(samples[: count * settings.samples], greedy[:count])
    return lambda chunk: drawn[chunk.set, chunk.start]


def _asked(engine: Any, prompts: Sequence[list[int]], n: int) -> list[list[int]]:
    repeated = [prompt for prompt in prompts for _ in range(n)]
    _, completions, _, _ = engine.generate(prompts=repeated, images=None, num_generations=n)
    return [list(ids) for ids in completions]


@contextmanager
def _set(engine: Any, settings: EvaluateSettings, greedy: bool) -> Iterator[None]:
    """Inside, the engine samples as the evaluation does, or not at all; penalties and further keys stay training's."""
    sampling = {"temperature": 0.0, "top_p": 1.0, "top_k": 0, "min_p": None} if greedy else {
        "temperature": settings.temperature, "top_p": settings.top_p, "top_k": settings.top_k, "min_p": settings.min_p
    }  # fmt: skip
    kwargs = {name: value for name, value in engine.generation_kwargs.items() if name != "seed"}
    changes = {**sampling, "max_completion_length": settings.max_new_tokens, "generation_kwargs": kwargs}
    before = {name: getattr(engine, name) for name in changes}
    vars(engine).update(changes)
    try:
        yield
    finally:
        vars(engine).update(before)
