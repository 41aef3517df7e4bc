"""Small inferences are answered in the thread that reads from all connections, which spares the wake-up of another.

That thread must not wait, nor compute for long. So it begins only what may turn out to be quick, tells the
application by `KEY` in the WSGI environment, and the application refuses by `NotAtOnce` what is not quick after all.
"""

from __future__ import annotations

from typing import Any

from falcon_mnist.inference.predictors import Predictor

KEY = "falcon_mnist.at_once"

# Room for a row of JSON with all digits of a double, which are 20 bytes for each of 784 numbers and a comma.
_MAX_BYTES = 2**15
_MAX_QUERY = 500  # characters
# A body with more members than this takes longer to refuse than a valid one to answer.
_MAX_MEMBERS = 20
# Each row reads all parameters: 8 MB of them take less than a millisecond.
_MAX_PARAMETER_BYTES = 2**23


class NotAtOnce(BaseException):
    """The request is to be answered by another thread, from its beginning. No `Exception`: nothing else handles it."""


def may_be_quick(request: Any) -> bool:
    """Whether to begin a request that has come in (a parser of waitress's) at once."""
    return bool(
        request.command == "POST"
        and request.path == "/api/infer"
        and 0 < request.content_length <= _MAX_BYTES
        and len(request.query) <= _MAX_QUERY
    )


def check_members(environ: dict[str, Any], document: dict[str, Any]) -> None:
    """Before a body is validated. Raises `NotAtOnce`."""
    if (
        KEY in environ
        and sum(len(each) for each in (document, *document.values()) if isinstance(each, dict)) > _MAX_MEMBERS
    ):
        raise NotAtOnce


def check_work(environ: dict[str, Any], rows: int, predictor: Predictor | None) -> None:
    """Before a forward pass; without a predictor, the parameters are not loaded. Raises `NotAtOnce`."""
    if KEY in environ and (predictor is None or rows * predictor.size_bytes > _MAX_PARAMETER_BYTES):
        raise NotAtOnce
