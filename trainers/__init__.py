"""The only package that knows TRL: it adapts the terms of entropostat.rl to the trainers."""

if __name__ != "entropostat.trainers":
    raise ImportError(
        f"import entropostat.trainers, not {__name__}: a second copy of the package would not share its state"
    )
