"""What the command line shows: progress bars, digits, tables."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich.console import Console

from falcon_mnist.constants import SIDE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt
    from rich.progress import TaskID


@contextmanager
def writing_output() -> Iterator[None]:
    """Names standard output in what the system says of it, as errors of files do, and gives up what is not written."""
    try:
        yield
    except OSError as error:
        error.filename = "standard output"
        with open(os.devnull, "wb") as nothing:
            os.dup2(nothing.fileno(), 1)  # else Python tries again as it ends, and says so once more
        raise


class _Output(Console):
    def print(self, *objects: Any, **options: Any) -> None:
        with writing_output():
            super().print(*objects, **options)


out = _Output(highlight=False)
err = Console(stderr=True, highlight=False)

_SHADES = " .:-=+*#%@"
# Names of files and answers of servers may hold what a terminal obeys.
_CONTROLS = {code: "\N{REPLACEMENT CHARACTER}" for code in (*range(32), *range(127, 160)) if code not in b"\n\t"}


def say(line: str) -> None:
    """Print a line as it is: no markup, no wrapping, no control characters."""
    out.print(line.translate(_CONTROLS), markup=False, soft_wrap=True)


def on_terminal() -> bool:
    """Whether standard output is a terminal, whatever it is told to look like; it may be closed."""
    return out.file.isatty()


def complain(sentence: str) -> None:
    """Print on standard error what is wrong, in the same way."""
    err.print(f"falcon-mnist: {sentence}".translate(_CONTROLS), markup=False, soft_wrap=True)


def say_cells(*cells: str) -> None:
    """Print a line for programs, its cells separated by tabs, which Rich would turn into blanks."""
    with writing_output():
        print("\t".join(cells).translate(_CONTROLS), file=out.file, flush=True)


def epoch_line(epoch: Mapping[str, Any]) -> str:
    """The metrics of a finished epoch."""
    line = f"Epoch {epoch['epoch']}: train loss {loss(epoch['train_loss'])}, accuracy {epoch['train_accuracy']:.2%}"
    if epoch["val_loss"] is not None:
        line += f"; validation loss {loss(epoch['val_loss'])}, accuracy {epoch['val_accuracy']:.2%}"
    return line


def loss(value: float) -> str:
    """A loss: four decimals, or none where it is huge."""
    return f"{value:.4f}" if value < 100 else f"{value:,.0f}"


def duration(seconds: float) -> str:
    """A time as 0:05, 12:00 or 1:02:03."""
    minutes, rest = divmod(math.ceil(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


@contextmanager
def progress() -> Iterator[Callable[[str, int, int | None], None]]:
    """A callable `(task, done, total)` that shows each task as a bar on standard error."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    tasks: dict[str, TaskID] = {}
    with Progress(*columns, console=err, disable=not err.is_terminal) as bars:

        def show(task: str, done: int, total: int | None) -> None:
            if task not in tasks:
                tasks[task] = bars.add_task(task, total=total)
            bars.update(tasks[task], completed=done, total=total)

        yield show


def digits(images: npt.NDArray[np.uint8], captions: Sequence[str]) -> str:
    """Images (n, 784) as text over their captions, up to three side by side, every second line of each."""
    lines = []
    abreast = max(1, min(3, out.width // 26))
    for first in range(0, len(images), abreast):
        pictures = [image.reshape(SIDE, SIDE)[2:26:2, 2:26] for image in images[first : first + abreast]]
        for row in zip(*pictures, strict=True):
            lines.append("  ".join("".join(_SHADES[int(pixel) * 10 // 256] for pixel in line) for line in row))
        lines.append("  ".join(caption.center(24) for caption in captions[first : first + abreast]))
    return "\n".join(line.rstrip() for line in lines)
