"""Large answers, each within its turn: in pieces until the last one is sent, or in one piece until that is read."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

import falcon

from falcon_mnist.api.turns import Released, Turns

# An answer goes out in pieces of this size, and a smaller one in one: of what a client reads slowly, little is kept.
PIECE_BYTES = 2**18
# At most so many answers of several pieces are sent at the same time: half of the server's threads.
_MOST_STREAMS = 4
# What a server may add to a request's environment: a function that calls another one when the answer has been read, or
# nobody can read it any more. Under others, an answer counts as read when it is handed over.
WHEN_READ = "falcon_mnist.when_read"


def stream(turns: Turns, make: Callable[[], Iterable[bytes]], *, size: int, copies: int) -> Released:
    """The pieces that `make` gives once it has its turn, for an answer of `size` bytes, of which there are `copies`.

    Raises a 503 `Problem` if there is no turn in time, and as `make`.
    """
    cost = size * copies
    if size > PIECE_BYTES:  # between pieces a thread waits for the client
        cost = max(cost, turns.capacity // _MOST_STREAMS)
    taken = turns.take(cost)
    try:
        return Released(make(), partial(turns.release, taken))
    except BaseException:
        turns.release(taken)
        raise


def whole(req: falcon.Request, resp: falcon.Response, turns: Turns, make: Callable[[], bytes], *, size: int) -> None:
    """Answer, in one piece and with its length, what `make` gives once it has its turn: at most `size` bytes.

    No thread waits for the client: the server keeps what is not read yet, and the turn ends when all has been read.
    Raises as `stream`.
    """
    taken = turns.take(size)
    try:
        data = make()
    except BaseException:
        turns.release(taken)
        raise
    release = partial(turns.release, taken)
    when_read = req.env.get(WHEN_READ)
    resp.content_length = len(data)
    resp.stream = Released([data], release if when_read is None else partial(when_read, release))


def pieces(data: bytes) -> Iterator[bytes]:
    """Bytes, in pieces."""
    view = memoryview(data)
    return (bytes(view[start : start + PIECE_BYTES]) for start in range(0, len(view), PIECE_BYTES))
