"""What a run needs and moves, computed from the shape of its model: memory of one rank, bytes of one optimizer step.

    shape.py           a model's sizes and its number of weights       presets.py, source.py   where they come from
    run.py             what of a recipe decides                        precision.py            bytes of a number
    states.py          weights, gradients, optimizer, references       activations.py          forward, head, generation
    memory.py          all of it by item and moment                    communication.py        collectives of a step
    table.py           the plan's tables                               lint.py                 more than a GPU has

Plain arithmetic without torch. Every formula stands in a docstring with its source: the paper or the line of thought, and
the version of the library where its code was read (transformers 5.23, TRL 1.16, accelerate 1.15, DeepSpeed 0.19.8).
`benchmarks/cost/scaling.py` compares them with small runs on a CPU.

Not counted: CUDA's context, NCCL's buffers, the allocator's fragmentation, kernels' own workspace, and evaluation.
"""
