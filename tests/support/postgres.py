"""A PostgreSQL cluster of the tests' own, from the binaries of the system's package, at a free port of loopback."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path

# The server refuses to run as root: then it runs as the user that Debian's package makes.
USER = "postgres"
SETTINGS = ("max_connections=200", "shared_buffers=32MB", "log_min_messages=fatal")
# Durability is not what tests look at: their cluster lives no longer than they.
FAST = ("fsync=off", "full_page_writes=off")


def missing() -> str:
    """What the tests with PostgreSQL need and do not find here; empty if nothing."""
    if find_spec("psycopg") is None:
        return "psycopg is not installed"
    return "" if _binaries() else "PostgreSQL is not installed (Debian: apt-get install postgresql)"


def _binaries() -> Path | None:
    """The newest of the folders that Debian keeps them in, or where PATH has them."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[-3]))
    found = debian[-1] if debian else shutil.which("pg_ctl")
    return Path(found).resolve().parent if found else None


class ProgramError(Exception):
    """One of PostgreSQL's programs failed; the message is its output."""


class Cluster:
    """A server that can be stopped and started again."""

    def __init__(self, folder: Path, *, durable: bool) -> None:
        binaries = _binaries()
        assert binaries
        self._binaries = binaries
        self._user = USER if os.geteuid() == 0 else None
        self._settings = SETTINGS if durable else SETTINGS + FAST
        self._data = folder / "data"
        self._log = folder / "log"
        if self._user:
            shutil.chown(folder, self._user)
        self._run("initdb", "-D", self._data, "-A", "trust", "-U", "tests", "-E", "UTF8", "--no-sync", "--no-locale")
        self._schemas: list[str] = []
        self._numbers = itertools.count()
        self.port = 0
        self._start_at_a_free_port()

    def start(self) -> None:
        """Returns when it takes connections."""
        options = ["-h", "127.0.0.1", "-k", str(self._data), "-p", str(self.port)]
        options += [part for setting in self._settings for part in ("-c", setting)]
        self._run("pg_ctl", "-D", self._data, "-l", self._log, "-w", "-o", " ".join(options), "start")

    def _start_at_a_free_port(self) -> None:
        for _ in range(5):
            self.port = _free_port()
            with suppress(ProgramError):  # another process has taken it since
                return self.start()
        raise ProgramError(self._log.read_text())

    def stop(self, mode: str = "immediate") -> None:
        """With the mode `immediate`, as a crash ends it."""
        self._run("pg_ctl", "-D", self._data, "-m", mode, "-w", "stop")

    def database(self) -> str:
        """The URL of what is a new database to whoever connects: a schema, which takes far less than a database."""
        url = f"postgresql://tests@127.0.0.1:{self.port}/postgres"
        if not self._schemas:  # many at once: to start `psql` takes most of the time
            self._schemas = [f"tests_{number}" for number in itertools.islice(self._numbers, 30)]
            self.sql(url, "".join(f"CREATE SCHEMA {schema};" for schema in self._schemas))
        return f"{url}?options=-csearch_path%3D{self._schemas.pop()}"

    def sql(self, url: str, statement: str) -> str:
        """What `psql` prints for it."""
        return self._run("psql", url, "-X", "-A", "-t", "-q", "-c", statement)

    def _run(self, program: str, *arguments: str | Path) -> str:
        command = [str(self._binaries / program), *map(str, arguments)]
        # A server keeps what it inherits: so its output goes to a file, not to a pipe that nobody closes.
        with tempfile.TemporaryFile("w+") as output:
            done = subprocess.run(
                command, stdout=output, stderr=subprocess.STDOUT, user=self._user, cwd="/", timeout=120, check=False
            )
            output.seek(0)
            said = output.read()
        if done.returncode:
            raise ProgramError(f"{program}: {said}")
        return said.strip()


@contextmanager
def cluster(*, durable: bool = False) -> Iterator[Cluster]:
    """A cluster in a folder that its server's user may reach, which those of pytest are not."""
    with tempfile.TemporaryDirectory(prefix="falcon-mnist-postgres-") as folder:
        Path(folder).chmod(0o755)
        running = Cluster(Path(folder), durable=durable)
        try:
            yield running
        finally:
            running.stop()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
