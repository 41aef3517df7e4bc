"""The life of a run: queue, pool of workers, worker, checkpoints."""
