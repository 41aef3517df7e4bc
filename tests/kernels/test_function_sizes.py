"""That each function of the kernels can be read at once: at most MAX_LINES lines and MAX_ARGUMENTS arguments."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from cases import for_each

KERNELS = Path(__file__).parents[2] / "kernels"
SOURCES = sorted(path for path in KERNELS.rglob("*") if path.suffix in {".pyx", ".pxi", ".h"})

MAX_LINES = 50  # from its first to its last, the signature with them
MAX_ARGUMENTS = 8  # besides `self`

# Indentation, name, arguments, and what follows them on the line: of Cython a colon, of C nothing or the body.
FUNCTION = re.compile(
    r"^( *)(?:cdef|cpdef|def|static) (?!class )[^\n=]*?(\w+)\(((?:[^()]|\([^()]*\))*)\)([^\n;]*:|| *{.*})$",
    re.MULTILINE,
)


class Function(NamedTuple):
    """A definition in Cython or C."""

    name: str
    lines: int
    arguments: int


def functions(text: str) -> Iterator[Function]:
    """All definitions in a file. A function lasts until a line that is indented no more than its first one."""
    text = re.sub(r" */\*.*?\*/", "", text)
    for match in FUNCTION.finditer(text):
        first = match[0].count("\n") + 1
        body = "" if match[4].endswith("}") else text[match.end() + 1 :]
        yield Function(match[2], first + lines_of_body(body, len(match[1])), count_arguments(match[3]))


def lines_of_body(text: str, indentation: int) -> int:
    """Up to the last that is indented more, or that C writes at the start of a line: a brace, or a preprocessor's."""
    last = 0
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            if len(line) - len(line.lstrip()) <= indentation and line.lstrip()[0] not in "{}#":
                break
            last = number if line.lstrip()[0] != "#" else last
            if line.lstrip() == "}" and len(line) - len(line.lstrip()) == indentation:
                break
    return last


def count_arguments(text: str) -> int:
    """What a caller gives: neither `self`, nor the marks between kinds of arguments."""
    text = re.sub(r"#[^\n]*|\([^()]*\)|\[[^\[\]]*\]", "", text)
    given = [argument.strip() for argument in text.split(",")]
    return len([argument for argument in given if argument not in {"", "*", "/", "self", "void"}])


CYTHON = '''
cdef class Pair(Base):
    def swap(self, int a, *, list b=[1, 2]):
        """Of two lines."""
        return b

cdef inline void apply(
    const float* x, void (*f)(int, int) noexcept nogil, Py_ssize_t n  # (n), float
) noexcept nogil:
    f(1, 2)

    f(n)
# The next.
cdef int n = apply(x, f, 3)
'''
C = """
static inline int one(void) { return 1; }
static int two(const char *text, int n) /* bytes */
{
#if FAST
    return n;
#endif
}

#define NONE
"""


def test_the_parser_sees_each_function() -> None:
    assert list(functions(CYTHON)) == [Function("swap", 3, 2), Function("apply", 6, 3)]
    assert list(functions(C)) == [Function("one", 1, 0), Function("two", 6, 2)]


@for_each("path", SOURCES)
def test_functions_are_short_and_take_few_arguments(path: Path) -> None:
    for name, lines, arguments in functions(path.read_text()):
        assert lines <= MAX_LINES, f"{name} has {lines} lines"
        assert arguments <= MAX_ARGUMENTS, f"{name} takes {arguments} arguments"
