"""Pages of what is listed newest first, by cursors that stand for "what was made before this"."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from falcon_mnist.api.request import read_cursor, read_limit, write_cursor
from falcon_mnist.storage.store import Store


def read_page(
    store: Store, name: str, query: Mapping[str, str], select: Callable[..., list[Any]], **filters: str | None
) -> tuple[list[Any], str | None]:
    """The rows of a page, and the cursor of the next one (None on the last); raises a 422 `Problem`.

    `name` is the list that cursors belong to. `select` is the store's verb; filters hold when the page is read.
    """
    limit = read_limit(query)
    before = read_cursor(store.cursor_key, name, query.get("cursor"))
    rows = select(limit=limit + 1, before=before, **filters)
    page = rows[:limit]
    return page, write_cursor(store.cursor_key, name, page[-1].number) if len(rows) > limit else None
