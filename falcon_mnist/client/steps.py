"""Operations as steps: an operation yields what to send and how long to pause, and is given the answers.

So each is written once, and a client is what carries steps out: `Client` at once, `AsyncClient` with await.
"""

from __future__ import annotations

import email.utils
import random
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TypeVar

import httpx

from falcon_mnist.client.errors import refused, unanswered

T = TypeVar("T")


@dataclass(frozen=True)
class Request:
    """What to send. All of it may be sent twice: what creates something has an Idempotency-Key.

    `fine` are answers that are no errors although they are not 2xx.
    """

    method: str
    path: str
    query: Mapping[str, str] = field(default_factory=dict)
    content: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    fine: tuple[int, ...] = ()


Steps = Generator[Request | float, httpx.Response, T]  # an answer for each request; a number is a pause in seconds
# With faults, as they come over the wire. A pause is followed by None.
Attempts = Generator[Request | float, httpx.Response | httpx.RequestError | None, T]

BUSY = (429, 502, 503)
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 8.0  # seconds
# A server that asks for more than this is not waited for: the caller knows better what to do meanwhile.
LONGEST_RETRY_AFTER = 60.0


@dataclass
class Retries:
    """How often a request is repeated when the connection fails or the server is busy, and after which pauses.

    A server that was never reached is not waited for: its address is wrong, or it does not run.
    """

    most: int
    url: httpx.URL
    spread: Callable[[float, float], float] = random.uniform
    reached: bool = False

    def over(self, steps: Steps[T]) -> Attempts[T]:
        """The same steps, which see good answers alone. Raises `ClientError`."""
        answer: httpx.Response | None = None
        while True:
            try:
                wanted = next(steps) if answer is None else steps.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result
            if isinstance(wanted, Request):
                answer = yield from self._ask(wanted)
            else:
                yield wanted
                answer = None

    def _ask(self, request: Request) -> Attempts[httpx.Response]:
        lost = False  # an answer, so that the request may have been carried out
        for attempt in range(self.most + 1):
            outcome = yield request
            last = attempt == self.most
            if isinstance(outcome, httpx.Response):
                self.reached = True
                gone = lost and request.method == "DELETE" and outcome.status_code == httpx.codes.NOT_FOUND
                if outcome.is_success or outcome.status_code in request.fine or gone:
                    return outcome
                asked = _retry_after(outcome)
                if last or outcome.status_code not in BUSY or asked > LONGEST_RETRY_AFTER:
                    raise refused(outcome)
                yield max(asked, self._pause(attempt))
            elif outcome is not None:
                lost = True
                if last or not self.reached or not isinstance(outcome, httpx.TransportError):
                    raise unanswered(self.url, outcome) from None
                yield self._pause(attempt)
        raise AssertionError("the last attempt has returned or raised")

    def _pause(self, attempt: int) -> float:
        """Twice as long after each attempt, and not the same for clients that were refused together."""
        longest = min(LONGEST_PAUSE, FIRST_PAUSE * 2**attempt)
        return self.spread(longest / 2, longest)


def _retry_after(response: httpx.Response) -> float:
    """Seconds, or a date (RFC 9110, section 10.2.3); 0 where it is neither."""
    text = response.headers.get("Retry-After", "")
    if text.isascii() and text.isdigit():
        return float(text)
    try:
        return max(0.0, (email.utils.parsedate_to_datetime(text) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return 0.0
