"""The stories the demos tell, talking to child processes only."""
