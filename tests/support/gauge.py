"""What an attack costs others: the longest answer of `/healthz`, and the server's peak of memory."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Self

import httpx

EVERY_SECONDS = 0.02


class Gauge:
    """Asks `/healthz` every 20 ms while its block runs; `longest` is in seconds, `peak_bytes` since the start."""

    def __init__(self, url: str, pid: int) -> None:
        self.longest = 0.0
        self.peak_bytes = 0
        self.failures: list[str] = []
        self._url = f"{url}/healthz"
        self._status = Path(f"/proc/{pid}/status")
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._ask, name="gauge")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()
        [line] = [line for line in self._status.read_text().splitlines() if line.startswith("VmHWM:")]
        self.peak_bytes = int(line.split()[1]) * 1024

    def _ask(self) -> None:
        with httpx.Client(timeout=60, trust_env=False) as http:
            while not self._over.is_set():
                start = time.monotonic()
                try:
                    status = http.get(self._url).status_code
                except httpx.HTTPError as error:
                    status = repr(error)
                self.longest = max(self.longest, time.monotonic() - start)
                if status != 200:
                    self.failures.append(str(status))
                time.sleep(EVERY_SECONDS)
