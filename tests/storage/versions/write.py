"""Writes the database of the newest schema version beside those of the earlier ones: the last of them, migrated.

    python tests/storage/versions/write.py

Then give the rows values in what is new, by hand. A file of a released version never changes.
"""

import sqlite3
import tempfile
from contextlib import closing
from pathlib import Path

from falcon_mnist.storage.migrations import STEPS
from falcon_mnist.storage.opening import open_database

FOLDER = Path(__file__).parent


def main() -> None:
    """Write the newest version's file, if it is not there yet."""
    newest = FOLDER / f"{len(STEPS)}.sql"
    if newest.exists():
        print(f"{newest} is there already")
        return
    last = max(int(file.stem) for file in FOLDER.glob("*.sql"))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "rows.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.executescript((FOLDER / f"{last}.sql").read_text())
        open_database(path, wait=60.0).close()
        with closing(sqlite3.connect(path)) as connection:
            newest.write_text("\n".join(connection.iterdump()) + "\n")
    print(f"{newest} is written: give the rows values in what is new")


if __name__ == "__main__":
    main()
