"""Finds the process that keeps others from writing to a SQLite file because somebody stopped it in a transaction.

SQLite cannot tell who holds its lock, but Linux can.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

# The byte of the `-shm` file that a writer locks in WAL mode, as SQLite's documentation of its format has it.
_WRITE_LOCK = 120
_LOCKS = Path("/proc/locks")


def stopped_writer(path: Path, *, locks: Path = _LOCKS) -> int | None:
    """The id of the process that holds the write lock of a database and is stopped, if there is one here."""
    with suppress(OSError):
        inode = path.with_name(f"{path.name}-shm").stat().st_ino
        for line in locks.read_text().splitlines():
            holder = _holder(line, inode)
            if holder is not None and _is_stopped(holder):
                return holder
    return None


def _holder(line: str, inode: int) -> int | None:
    """Who holds the write lock by this line: `1: POSIX ADVISORY WRITE <pid> <major>:<minor>:<inode> <first> <last>`."""
    words = line.split()
    if len(words) != 8 or words[3] != "WRITE":  # one that waits has an arrow more
        return None
    pid, file, first, last = words[4:]
    of_file = int(file.rpartition(":")[2]) == inode
    return int(pid) if of_file and int(first) <= _WRITE_LOCK and (last == "EOF" or int(last) >= _WRITE_LOCK) else None


def _is_stopped(process: int) -> bool:
    """By a signal, or by a debugger."""
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:  # it has ended
        return False
    return state in ("T", "t")
