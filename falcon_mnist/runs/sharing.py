"""How the runs of a pool share the machine's CPUs."""

from __future__ import annotations

from multiprocessing.context import BaseContext

from falcon_mnist.settings import cpus


class Sharing:
    """How many workers of a pool have a run: in memory that they share with their server, which writes it.

    To be handed over to each worker at its start, as multiprocessing's shared memory is.
    """

    def __init__(self, context: BaseContext, all_cpus: int | None = None) -> None:
        """`all_cpus` is how many the workers may use together, by default all that this process may."""
        self._busy = context.RawValue("Q", 0)
        self._all_cpus = all_cpus or cpus()

    def note_busy(self, workers: int) -> None:
        """So many have a run."""
        self._busy.value = workers

    def free_cpus(self) -> int:
        """How many CPUs one of the runs may use now: each of the others needs at least one.

        Which of those that are left are worth using is for trials to find out (`training.threads`); but where each run
        has just one, trials of two threads would only slow down both.
        """
        return max(1, self._all_cpus - max(0, int(self._busy.value) - 1))
