"""How many threads a segment of training gets: whichever number is fastest at the moment. It changes no bit."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from statistics import median_high

from falcon_mnist import kernels


class Threads:
    """Chooses the number of threads for each segment: the fastest of those that the free CPUs allow.

    What was learned with one number of free CPUs says nothing of another, and is found again when that number is.
    """

    def __init__(self, most: int, free_cpus: Callable[[], int] | None = None) -> None:
        """`free_cpus` says how many CPUs this training may use at the moment, by default `most`."""
        self._most = most
        self._free_cpus = free_cpus or (lambda: most)
        self._trials: dict[int, Trials] = {}  # by the most threads
        self._current = self._trials_now()

    @property
    def best(self) -> int:
        """The fastest number by the last trials."""
        return self._current.best

    def next(self) -> tuple[int, bool]:
        """The number of threads for the next segment, and whether that is a trial."""
        self._current = self._trials_now()
        return self._current.next()

    def took(self, rows: int, seconds: float) -> None:
        """Record how long the segment took that `next` chose threads for."""
        self._current.took(rows, seconds)

    def _trials_now(self) -> Trials:
        most = max(1, min(self._most, self._free_cpus()))
        if most not in self._trials:
            self._trials[most] = Trials(most)
        return self._trials[most]


class Trials:
    """Finds the fastest number of threads by trying all candidates.

    Several threads pay where each has a CPU and steps are long; beside other work they can cost many times what they
    save. So every candidate is tried in turn, each on a short segment: some rounds at first, then one now and then, so
    rarely that trials cost little, but soon at first, as what runs beside a starting run may soon end. Only trials are
    compared with each other, as each includes the cost of starting a segment; of each candidate's last trials the
    median counts, so that one disturbed trial changes nothing, nor one lucky one. But where other programs want the
    CPUs now and then, short trials of several threads do well and whole segments do not: such a segment counts as one,
    and each further one has trials wait three times as long.
    """

    LOSS = 0.01  # share of the time that trials may cost
    LAST = 3  # trials that count
    HOPELESS = 2.0  # a trial that took so many times as long as the best's is the last of its number in its round
    MISLED = 1.5  # a segment that took so many times as long as another number's trials promise
    PAUSES = (1, 10)  # the next trials wait so many times what such a segment lost: at first, at most

    def __init__(self, most: int) -> None:
        """The candidates are the powers of two up to `most`, and that."""
        most = min(most, kernels.MAX_THREADS)
        self.choices = sorted({most} | {2**i for i in range(most.bit_length())})
        self._rates = {choice: deque[float](maxlen=self.LAST) for choice in self.choices}  # rows a second
        self._trials = deque(self.choices * self.LAST if len(self.choices) > 1 else [])
        self._spent = 0.0  # seconds so far
        self._lost = 0.0  # of these by this round of trials
        self._until_round = 0.0  # seconds
        self._pause: float = self.PAUSES[0]

    @property
    def best(self) -> int:
        """The fastest number by the last trials."""
        return max(self.choices, key=self._rate)

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
            self._note_if_misled(rows, seconds)
            return
        choice = self._trials.popleft()
        self._rates[choice].append(rows / seconds)
        if self._rate(self.best) * seconds > self.HOPELESS * rows:
            self._trials = deque(each for each in self._trials if each != choice)
        self._lost += max(seconds - rows / self._rate(self.best), seconds / 20)
        if not self._trials:  # if another number was fastest in this round, the next round follows at once
            agreed = max(self.choices, key=lambda choice: self._rates[choice][-1]) == self.best
            self._until_round = min(self._lost / self.LOSS, self._spent) if agreed else 0.0
            self._lost = 0.0

    def _note_if_misled(self, rows: int, seconds: float) -> None:
        """The segment with the best number was none of the trials."""
        best = self.best
        promised = max((self._rate(choice) for choice in self.choices if choice != best), default=0.0)
        if promised * seconds > self.MISLED * rows:
            self._rates[best] = deque([rows / seconds], maxlen=self.LAST)
            self._until_round = self._pause * (seconds - rows / promised)
            self._pause = min(3 * self._pause, self.PAUSES[1])
        elif best > 1:
            self._pause = max(self._pause / 2, self.PAUSES[0])

    def _rate(self, choice: int) -> float:
        """Rows a second, by the last trials; 0 before the first."""
        return median_high(self._rates[choice] or (0.0,))
