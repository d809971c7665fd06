"""What trains and measures: groups of runs, the training loop, checkpoints, executors."""
