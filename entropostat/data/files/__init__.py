"""Local files of rows: found by their names, unpacked within bounds, read row by row."""
