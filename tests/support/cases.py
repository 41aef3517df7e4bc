"""Many small cases in one test: pytest itself costs more than some of them."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

Test = Callable[..., None]


def for_each(names: str, cases: Iterable[Any]) -> Callable[[Test], Test]:
    """As `pytest.mark.parametrize`, but one test goes through all cases; a failure notes which one it was."""
    wanted, given = [name.strip() for name in names.split(",")], list(cases)
    assert given, f"no case of {names}"

    def decorate(test: Test) -> Test:
        @functools.wraps(test)
        def call(**fixtures: Any) -> None:
            for case in given:
                values: Sequence[Any] = case if len(wanted) > 1 else (case,)
                try:
                    test(**fixtures, **dict(zip(wanted, values, strict=True)))
                except BaseException as error:
                    error.add_note(f"with {names} = {case!r:.200}")
                    raise

        signature = inspect.signature(test)
        left = [parameter for name, parameter in signature.parameters.items() if name not in wanted]
        call.__signature__ = signature.replace(parameters=left)  # type: ignore[attr-defined]
        del call.__wrapped__
        return call

    return decorate
