"""Verifiers, answer keys and reward shaping."""

if __name__ != "entropostat.reward":
    raise ImportError(
        f"import entropostat.reward, not {__name__}: a second copy of the package would not share its state"
    )
