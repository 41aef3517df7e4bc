"""How many threads a segment of training gets: whichever number is fastest at the moment. It changes no bit."""

from __future__ import annotations

from collections import deque

from falcon_mnist import kernels


class Threads:
    """Chooses the number of threads for each segment from trials of all candidates.

    Several threads pay where each has a CPU and steps are long; beside other work they can cost many times what they
    save. So every candidate is tried in turn, each on a short segment: some rounds at first, then one now and then, so
    rarely that trials cost little, but soon at first, as what runs beside a starting run may soon end. Only trials are
    compared with each other, as each includes the cost of starting a segment; of each candidate's last trials the
    fastest counts, so that one disturbed trial changes nothing.
    """

    LOSS = 0.01  # share of the time that trials may cost
    LAST = 3  # trials that count

    def __init__(self, most: int) -> None:
        """`most` is the number of CPUs."""
        most = min(most, kernels.MAX_THREADS)
        self.choices = sorted({most} | {2**i for i in range(most.bit_length())})
        self._rates = {choice: deque([0.0], maxlen=self.LAST) for choice in self.choices}  # rows a second
        self._trials = deque(self.choices * self.LAST if len(self.choices) > 1 else [])
        self._spent = 0.0  # seconds so far
        self._lost = 0.0  # of these by this round of trials
        self._until_round = 0.0  # seconds

    @property
    def best(self) -> int:
        """The fastest number by the last trials."""
        return max(self.choices, key=lambda choice: max(self._rates[choice]))

    def next(self) -> tuple[int, bool]:
        """The number of threads for the next segment, and whether that is a trial."""
        if not self._trials and len(self.choices) > 1 and self._until_round <= 0:
            self._trials.extend(self.choices)
        return (self._trials[0], True) if self._trials else (self.best, False)

    def took(self, rows: int, seconds: float) -> None:
        """Record how long the segment took that `next` chose threads for."""
        seconds = max(seconds, 1e-9)
        self._spent += seconds
        if not self._trials:
            self._until_round -= seconds
            return
        self._rates[self._trials.popleft()].append(rows / seconds)
        self._lost += max(seconds - rows / max(self._rates[self.best]), seconds / 20)
        if not self._trials:  # if another number was fastest in this round, the next round follows at once
            agreed = max(self.choices, key=lambda choice: self._rates[choice][-1]) == self.best
            self._until_round = min(self._lost / self.LOSS, self._spent) if agreed else 0.0
            self._lost = 0.0
