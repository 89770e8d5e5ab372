"""Batch jobs for Slurm: the script of a recipe, and what became of it."""

if __name__ != "entropostat.slurm":
    raise ImportError(
        f"import entropostat.slurm, not {__name__}: a second copy of the package would not share its state"
    )
