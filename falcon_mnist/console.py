"""What the command line shows: progress bars, digits, tables."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)

_SHADES = " .:-=+*#%@"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A callable `(task, done, total)` that shows each task as a bar on standard error."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err) as bars:

        def show(task: str, done: int, total: int | None) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            bars.update(tasks[task], completed=done, total=total)

        yield show


def digits(images: npt.NDArray[np.uint8], captions: list[str]) -> str:
    """Images (n, 784) side by side as text, every second line of each, with a caption below."""
    pictures = [image.reshape(28, 28)[::2, 2:26] for image in images]
    lines = [
        "  ".join("".join(_SHADES[int(pixel) * 10 // 256] for pixel in picture[row]) for picture in pictures)
        for row in range(14)
    ]
    lines.append("  ".join(caption.center(24) for caption in captions))
    return "\n".join(line.rstrip() for line in lines)
