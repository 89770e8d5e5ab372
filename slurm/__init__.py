"""Batch jobs for Slurm: recipes already carry their `slurm:` block, which `plan` validates."""

if __name__ != "entropostat.slurm":
    raise ImportError(
        f"import entropostat.slurm, not {__name__}: a second copy of the package would not share its state"
    )
