"""The objective inside verl. ``carries.py`` says what verl cannot do, and imports no verl."""
