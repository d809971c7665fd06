"""One run's training, or several seeds' side by side: the loop, what it measures, checkpoints, the record."""
