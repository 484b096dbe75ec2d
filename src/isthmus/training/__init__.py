"""Loss to weights: stages, what is frozen, the loop, checkpoints, the feature store and the log."""
