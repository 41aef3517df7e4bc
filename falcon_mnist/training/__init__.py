"""Architecture and hyperparameters as data, networks and their training."""
