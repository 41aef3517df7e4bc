# The first fault of an array that is to hold numbers and is not clean.


cdef object find_fault(Document document):
    """What `fault` makes of an array's first fault; what follows it must be JSON all the same."""
    cdef Py_ssize_t index = 0, width = -1
    cdef bint more = document.enter(c']')
    found = None
    while more:
        document.at = skip_space(document.at)
        if found is not None:
            document.value(False)
        elif document.at[0] == c'[' and (index == 0 or width >= 0):
            found = fault_in_row(document, index, &width)
        else:
            value = document.value(False)
            if width >= 0 or type(value) is not float:
                found = document.fault((index,), width if width >= 0 else None, value)
        index += 1
        more = document.next(c']')
    document.depth -= 1
    if found is None:
        raise ValueError("an array without a fault")
    return found


cdef object fault_in_row(Document document, Py_ssize_t index, Py_ssize_t* width):
    cdef Py_ssize_t count = 0, column = -1
    cdef bint more = document.enter(c']')
    bad = None
    while more:
        value = document.value(False)
        if column < 0 and type(value) is not float:
            column, bad = count, value
        count += 1
        more = document.next(c']')
    document.depth -= 1
    if width[0] < 0:
        width[0] = count
    if count != width[0] or count == 0:
        return document.fault((index,), width[0], count)
    return None if column < 0 else document.fault((index, column), None, bad)
