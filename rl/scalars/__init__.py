"""Numbers of the run itself, which a controller may move like any coefficient of a term."""
