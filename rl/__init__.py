"""Entropy-control maths on tensors. Imports torch only: no trainer, no files, no process groups."""

if __name__ != "entropostat.rl":
    raise ImportError(f"import entropostat.rl, not {__name__}: a second copy of the package would not share its state")
