# A JSON text (RFC 8259) to Python's objects, in one pass. Where it is not clean, a `ValueError` says no more than that.

cimport cython
cimport numpy as cnp
import numpy as np

from cpython.unicode cimport PyUnicode_DecodeUTF8
from libc.string cimport memcmp

cdef extern from "isa/float_mode.h" nogil:
    ctypedef uint64_t float_mode
    float_mode enter_float_mode(int flush) noexcept
    void restore_float_mode(float_mode mode) noexcept
    cdef enum:
        KEEP_SUBNORMALS

cnp.import_array()

cdef enum:
    MOST_DEPTH = 1024
    # Releasing the GIL costs more than it frees for less than some 30 us of work.
    NOGIL_BYTES = 64 * 1024


class TooManyError(Exception):
    """A text holds more of something than a limit of `read_json` allows; the argument says of what."""


def read_json(
    bytes text not None,
    *,
    numeric,
    scalar,
    fault=None,
    Py_ssize_t most_numbers,
    Py_ssize_t most_hard,
    Py_ssize_t most_values,
    Py_ssize_t most_members,
):
    """The value of a JSON text, in which arrays of numbers that members named in `numeric` have are float32 arrays.

    They have the shape (n,) or, of equally long rows, (rows, columns). Each number is the nearest double, rounded to
    float32. Where one is beyond float32, the array is of float64, and such numbers are infinite.

    `scalar` reads numbers elsewhere, and strings with escapes. Raises `ValueError` where the text is not JSON, or an
    array of `numeric` not clean: it holds something else than numbers or equally long rows of them. With `fault`, that
    array's value is `fault(place, width, found)` of its first fault instead: at `place`, the indices of a row or a
    number, there is `found` in place of a number (`width` None) or of a row of `width` numbers; an integer is the
    length of a row.

    Raises `TooManyError` with "numbers" in arrays of `numeric`, with "hard" numbers (of more than 19 significant digits), with
    "values" that are not in such arrays, or with "members" of one object.
    """
    cdef Document document = Document.__new__(Document)
    document.text, document.numeric, document.scalar, document.fault = text, numeric, scalar, fault
    document.numbers_left, document.hard_left, document.values_left = most_numbers, most_hard, most_values
    document.most_members = most_members
    return document.read()


@cython.final
cdef class Document:
    cdef bytes text
    cdef const uint8_t* at
    cdef const uint8_t* end
    cdef object numeric, scalar, fault
    cdef cnp.ndarray room  # for the numbers of the next array
    cdef Py_ssize_t numbers_left, hard_left, values_left, most_members
    cdef int depth

    cdef object read(self):
        self.at = self.text
        self.end = self.at + len(self.text)
        if self.text.startswith(b"\xef\xbb\xbf"):  # a byte order mark, which RFC 8259 allows to ignore
            self.at += 3
        value = self.value(True)
        self.at = skip_space(self.at)
        if self.at != self.end:
            raise ValueError("more than one value")
        return value

    cdef object value(self, bint keep):
        """What stands here; if it is not to be kept, some value of its kind."""
        self.at = skip_space(self.at)
        cdef uint8_t byte = self.at[0]
        if byte == c'"':
            return self.string()
        if byte == c'{':
            return self.members(keep)
        if byte == c'[':
            return self.entries(keep)
        if byte == c't':
            return self.literal(b"true", True)
        if byte == c'f':
            return self.literal(b"false", False)
        if byte == c'n':
            return self.literal(b"null", None)
        return self.number(keep)

    cdef object members(self, bint keep):
        cdef Py_ssize_t count = 0
        cdef bint more = self.enter(c'}')
        found = {}
        while more:
            self.at = skip_space(self.at)
            if self.at[0] != c'"':
                raise ValueError("no name")
            name = self.string()
            self.at = skip_space(self.at)
            if self.at[0] != c':':
                raise ValueError("no colon")
            self.at = skip_space(self.at + 1)
            if not keep:
                self.value(False)
            else:
                count += 1
                if count > self.most_members:
                    raise TooManyError("members")
                self.count_value()
                found[name] = self.array() if self.at[0] == c'[' and name in self.numeric else self.value(True)
            more = self.next(c'}')
        self.depth -= 1
        return found

    cdef object entries(self, bint keep):
        cdef bint more = self.enter(c']')
        found = []
        while more:
            value = self.value(keep)
            if keep:
                self.count_value()
                found.append(value)
            more = self.next(c']')
        self.depth -= 1
        return found

    cdef bint enter(self, uint8_t closing) except -1:
        """Past a bracket; whether anything stands in it. If not, past its closing one."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ValueError("nested too deeply")
        self.at = skip_space(self.at + 1)
        if self.at[0] != closing:
            return True
        self.at += 1
        return False

    cdef bint next(self, uint8_t closing) except -1:
        """Past a comma (True) or the closing bracket."""
        self.at = skip_space(self.at)
        cdef uint8_t byte = self.at[0]
        if byte != c',' and byte != closing:
            raise ValueError("no comma")
        self.at += 1
        return byte == c','

    cdef int count_value(self) except -1:
        self.values_left -= 1
        if self.values_left < 0:
            raise TooManyError("values")
        return 0

    cdef object literal(self, bytes name, value):
        cdef Py_ssize_t length = len(name)
        if self.end - self.at < length or memcmp(self.at, <const char*>name, length) != 0:
            raise ValueError("no value")
        self.at += length
        return value

    cdef str string(self):
        cdef const uint8_t* first = self.at
        cdef bint escaped = False
        self.at += 1
        while self.at[0] != c'"':
            if self.at[0] < 0x20:  # also the NUL behind the text
                raise ValueError("a control character")
            if self.at[0] == c'\\':
                escaped = True
                self.at += self.at[1] >= 0x20  # not past that NUL
            self.at += 1
        self.at += 1
        if escaped:
            return self.scalar(first[:self.at - first])
        return PyUnicode_DecodeUTF8(<const char*>first + 1, self.at - first - 2, NULL)

    cdef object number(self, bint keep):
        cdef Number number
        cdef const uint8_t* first = self.at
        self.at = read_number(first, self.end, &number)
        if self.at == NULL:
            raise ValueError("no value")
        self.hard_left -= number.hard
        if self.hard_left < 0:
            raise TooManyError("hard")
        return self.scalar(first[:self.at - first]) if keep else 0.0

    cdef object array(self):
        """An array that is to hold numbers."""
        cdef const uint8_t* first = skip_space(self.at + 1)
        if first[0] == c']' or first[0] == c'{':
            return self.value(True)
        cdef Py_ssize_t rows, columns, most = (self.end - first) // 2 + 8
        if self.room is None or self.room.size < most:
            self.room = np.empty(most, np.float32)
        cdef Row row
        cdef float* numbers = <float*>cnp.PyArray_DATA(self.room)
        row.next = numbers
        row.last = numbers + min(self.numbers_left, most - 8)
        row.beyond = False
        row.hard_left = self.hard_left
        cdef float_mode mode = enter_float_mode(KEEP_SUBNORMALS)
        if self.end - first < NOGIL_BYTES:
            first = read_rows(first, self.end, &row, &rows, &columns)
        else:
            with nogil:
                first = read_rows(first, self.end, &row, &rows, &columns)
        restore_float_mode(mode)
        cdef Py_ssize_t count = row.next - numbers
        if count > self.numbers_left:
            raise TooManyError("numbers")
        if row.hard_left < 0:
            raise TooManyError("hard")
        if first == NULL:
            if self.fault is None:
                raise ValueError("an array that is not clean")
            return find_fault(self)
        self.at = first
        self.numbers_left -= count
        self.hard_left = row.hard_left
        found = self.taken(count)
        if row.beyond:
            found = found.astype(np.float64)
        return found.reshape(rows, columns) if rows else found

    cdef cnp.ndarray taken(self, Py_ssize_t count):
        """The first numbers in the room. It becomes their array itself, unless that would hold much memory for few."""
        cdef cnp.ndarray room = self.room
        if count < room.size // 16:
            return room[:count].copy()
        self.room = None
        room.resize(count, refcheck=False)
        return room
