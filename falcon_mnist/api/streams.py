"""Answers that go out in pieces: each takes its turn until its last piece is sent, or its client is gone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from falcon_mnist.api.turns import Released, Turns

# An answer goes out in pieces of this size, and a smaller one in one: of what a client reads slowly, little is kept.
PIECE_BYTES = 2**18
# At most so many answers of several pieces are sent at the same time: half of the server's threads.
_MOST_STREAMS = 4


def stream(turns: Turns, make: Callable[[], Iterable[bytes]], *, size: int, copies: int) -> Released:
    """The pieces that `make` gives once it has its turn, for an answer of `size` bytes, of which there are `copies`.

    Raises a 503 `Problem` if there is no turn in time, and as `make`.
    """
    cost = size * copies
    if size > PIECE_BYTES:  # between pieces a thread waits for the client
        cost = max(cost, turns.capacity // _MOST_STREAMS)
    taken = turns.take(cost)
    try:
        return Released(make(), turns, taken)
    except BaseException:
        turns.release(taken)
        raise


def pieces(data: bytes) -> Iterator[bytes]:
    """Bytes, in pieces."""
    view = memoryview(data)
    return (bytes(view[start : start + PIECE_BYTES]) for start in range(0, len(view), PIECE_BYTES))
