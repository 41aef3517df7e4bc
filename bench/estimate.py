"""What a hundred nodes would do with a million runs, reckoned from the figures of one machine."""

from __future__ import annotations

from collections.abc import Mapping

from readme import markdown

NODES, WORKERS, RUNS = 100, 2, 1_000_000
# Connections to PostgreSQL, as docs/scaling.md has them: of a server process, of a worker.
SERVER_CONNECTIONS, WORKER_CONNECTIONS = 6, 2
# How long a transaction may hold the row of totals: until it is on the disk.
COMMIT_SECONDS = (0.001, 0.005)

RATE = "runs an hour, 1 worker"
TRANSACTIONS = "write transactions a run"
ROW_BYTES = "bytes of rows a run"
FILE_BYTES = "bytes of files a run"


def estimate(figures: Mapping[str, float]) -> list[str]:
    """A table, in what order things saturate."""
    workers = NODES * WORKERS
    a_second = workers * figures[RATE] / 3600
    fastest, slowest = (1 / seconds for seconds in COMMIT_SECONDS)
    connections = NODES * (SERVER_CONNECTIONS + WORKERS * WORKER_CONNECTIONS)
    rows = [
        [
            "connections to PostgreSQL",
            f"{NODES} x ({SERVER_CONNECTIONS} + {WORKERS} x {WORKER_CONNECTIONS}) = {connections:,}",
            "first of all: its `max_connections` of 100 is enough for ten such nodes. Raise it, or have few API nodes "
            "and the rest as workers on Ray",
        ],
        [
            "what workers can do",
            f"{workers} x {figures[RATE]:,.0f} runs an hour = {a_second:,.0f} a second: "
            f"{spell(RUNS / a_second)} for all",
            "only as long as the database takes it: see the next two rows. Runs that train for longer need it less",
        ],
        [
            "write transactions",
            f"{figures[TRANSACTIONS]:.0f} a run: {a_second * figures[TRANSACTIONS]:,.0f} a second; one of them adds to "
            "totals, in one row that is locked until it is on the disk",
            f"next: at {1000 * COMMIT_SECONDS[0]:.0f} to {1000 * COMMIT_SECONDS[1]:.0f} ms for each, that row allows "
            f"{slowest:,.0f} to {fastest:,.0f} runs a second, so all take {spell(RUNS / fastest)} to "
            f"{spell(RUNS / slowest)}. A disk with a cache that survives a power failure comes first, longer runs help "
            "as much",
        ],
        [
            "making runs",
            "one at a time in the whole database, so as many a second as it commits one after the other",
            "ask for them ahead of the workers. The queue is counted for each: keep `FALCON_MNIST_MAX_QUEUED_RUNS` to "
            "some thousands and ask again after a 503",
        ],
        [
            "files",
            f"{figures[FILE_BYTES] / 1e3:,.0f} kB each: {RUNS * figures[FILE_BYTES] / 1e9:,.0f} GB; at {slowest:,.0f} "
            f"runs a second as many puts, and {slowest * figures[FILE_BYTES] / 1e6:,.0f} MB",
            "a bucket takes thousands of puts a second; a shared folder wants a prefix of its own for each sweep",
        ],
        [
            "rows",
            f"at most {figures[ROW_BYTES] / 1e3:,.0f} kB each, most of it the mistakes on the test images: "
            f"{RUNS * figures[ROW_BYTES] / 1e9:,.0f} GB",
            "`falcon-mnist prune --keep-best`",
        ],
        [
            "lists, polls, metrics",
            "as in the table above, whatever the number of runs",
            "API nodes: they share nothing but the database",
        ],
    ]  # fmt: skip
    return markdown(["what", "reckoned", "where it ends, and what to do then"], rows, words=3)


def spell(seconds: float) -> str:
    """About so long."""
    return f"{seconds / 60:,.0f} minutes" if seconds < 7200 else f"{seconds / 3600:.1f} hours"
