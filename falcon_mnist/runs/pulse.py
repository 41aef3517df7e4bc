"""A process's sign of life, which needs neither files nor a database: whoever holds their locks may be what hangs."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import suppress
from multiprocessing.context import BaseContext

BEAT_SECONDS = 0.5
# A process whose pulse has not beaten for so long is taken for stopped.
SILENT_SECONDS = 15.0
# What a look at a pulse counts for at most: who watches may have been stopped as well, by Ctrl-Z for instance.
LOOK_SECONDS = 3.0


class Pulse:
    """Counted up by one process, in memory that it shares with the one that started it and watches it.

    To be handed over at that start, as multiprocessing's shared memory is.
    """

    def __init__(self, context: BaseContext) -> None:
        self._beats = context.RawValue("Q", 0)
        self._process = context.RawValue("q", 0)

    @property
    def beats(self) -> int:
        """How many there were."""
        return int(self._beats.value)

    @property
    def process(self) -> int:
        """The id of the process; 0 before the first beat."""
        return int(self._process.value)

    def keep_beating(self) -> None:
        """From now on, as long as this process lives and is not stopped."""
        self._process.value = os.getpid()
        threading.Thread(target=self._beat, name="pulse", daemon=True).start()

    def _beat(self) -> None:
        while True:
            self._beats.value += 1
            time.sleep(BEAT_SECONDS)


class Listener:
    """Listens to a pulse, every second or so."""

    def __init__(self, pulse: Pulse) -> None:
        self._pulse = pulse
        self._heard = 0
        self._looked = 0.0
        self._silent = 0.0

    def silent_seconds(self, now: float) -> float:
        """For how long no beat has been heard; 0 before the first one, as a process may take long to start."""
        beats = self._pulse.beats
        passed = min(now - self._looked, LOOK_SECONDS)
        self._silent = self._silent + passed if beats and beats == self._heard else 0.0
        self._heard, self._looked = beats, now
        return self._silent

    def kill(self) -> None:
        """End the process, if it has begun, at once: one that is stopped obeys no other signal."""
        if process := self._pulse.process:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
