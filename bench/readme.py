"""What every benchmark of this folder writes beside its figures, and where in the documents they go."""

from __future__ import annotations

import datetime
import os
import platform
import re
from pathlib import Path

from falcon_mnist import kernels

README = Path(__file__).parents[1] / "README.md"
PERFORMANCE = Path(__file__).parents[1] / "docs" / "performance.md"


def machine() -> str:
    """Processor, number of CPUs, instruction set, Python and day."""
    names = re.findall(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text()) or [platform.machine()]
    day = datetime.datetime.now(datetime.UTC).date()
    return f"{names[0]}, {os.cpu_count()} CPUs, {kernels.isa()}, Python {platform.python_version()}, {day}"


def put_into(document: Path, name: str, lines: list[str]) -> None:
    """Replace what stands between the markers of `name` in a document."""
    text = document.read_text()
    start, end = f"<!-- bench:{name} -->", f"<!-- /bench:{name} -->"
    before, after = text.split(start)[0], text.split(end)[1]
    document.write_text("\n".join([before + start, *lines, end]) + after)


def markdown(header: list[str], rows: list[list[str]], *, words: int = 1) -> list[str]:
    """A table; all columns but the first `words` hold numbers."""
    ruler = ["---"] * words + ["---:"] * (len(header) - words)
    return ["| " + " | ".join(cells) + " |" for cells in (header, ruler, *rows)]
