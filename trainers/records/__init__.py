"""What a run leaves behind: files, trackers, a line in the terminal."""
