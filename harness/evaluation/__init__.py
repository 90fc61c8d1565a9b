"""What chosen configurations are worth: the test set, nested cross-validation, ensembles, simple baselines."""
