# JSON documents, before they are parsed.

cdef Py_ssize_t next_number(const char* text, Py_ssize_t length, Py_ssize_t at) noexcept nogil:
    """Where the next number of a valid JSON document begins, `length` if there is none; `at` is not in a string."""
    while at < length and not (text[at] == c'-' or c'0' <= text[at] <= c'9'):
        if text[at] == c'"':
            at += 1
            while at < length and text[at] != c'"':
                at += 2 if text[at] == c'\\' else 1
        at += 1
    return min(at, length)


cdef Py_ssize_t end_of_number(const char* text, Py_ssize_t length, Py_ssize_t at, bint* hard) noexcept nogil:
    """Where it ends; and whether it has an exponent after more digits than fit into 64 bits."""
    cdef Py_ssize_t digits = 0
    cdef bint exponent = False
    while at < length and (
        c'0' <= text[at] <= c'9' or text[at] == c'.' or text[at] == c'-' or text[at] == c'+' or text[at] | 32 == c'e'
    ):
        exponent = exponent or text[at] | 32 == c'e'
        digits += not exponent and c'0' <= text[at] <= c'9'
        at += 1
    hard[0] = exponent and digits > 19
    return at


def hard_numbers(bytes document):
    """How many numbers of a JSON document have an exponent after more than 19 digits: simdjson takes 10 us for one.

    Of what is not valid JSON the count means nothing.
    """
    cdef Py_ssize_t length = len(document), at = 0, count = 0
    cdef const char* text = document
    cdef bint hard = False
    with nogil:
        while True:
            at = next_number(text, length, at)
            if at == length:
                break
            at = end_of_number(text, length, at, &hard)
            count += hard
    return count
