"""A server's rows and files, seen past it."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from asking import PATIENCE


class OnDisk:
    """What a server keeps on disk, seen past it."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.storage = home / "storage"
        self.database = home / "falcon-mnist.db"

    def query(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        connection = sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)
        try:
            return connection.execute(sql, values).fetchall()
        finally:
            connection.close()

    def change(self, sql: str) -> None:
        """Change the database behind the server's back."""
        connection = sqlite3.connect(self.database)
        with connection:
            connection.execute(sql)
        connection.close()

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock for writing: as a process that was stopped in the middle of a transaction does."""
        with closing(sqlite3.connect(self.database, timeout=PATIENCE)) as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield

    def opens(self) -> bool:
        """Whether others can open the database: while a process closes it, and for as long as it is stopped there,
        SQLite keeps them out.
        """
        try:
            self.query("SELECT 1 FROM meta")
        except sqlite3.OperationalError:
            return False
        return True

    def everything(self) -> tuple[Any, ...]:
        """The ids of all rows and the names of all that is stored but checkpoints, which workers write at any time."""
        ids = (f"SELECT id FROM {table}" for table in ("models", "runs", "parameter_sets"))
        stored = []
        for folder, folders, names in os.walk(self.storage):
            if "checkpoints" in folders:
                folders.remove("checkpoints")  # and what is in it
            stored += [os.path.join(folder, name) for name in (*folders, *names)]
        return self.query(" UNION ".join(ids)), sorted(stored)

    @contextmanager
    def unchanged(self) -> Iterator[None]:
        """Fails if the block leaves a row or a file behind."""
        before = self.everything()
        yield
        assert self.everything() == before

    def parameter_file(self, param_id: str) -> Path:
        return self.storage / "parameters" / f"{param_id}.safetensors"
