# Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011): random words as a function of a
# counter and a key alone.

cdef enum:
    ROUNDS = 10

cdef extern from *:
    """
    /* first, first + 2, ... in elements of 64 bits, of which the low 32 count. */
    static inline vlong every_second_number(uint32_t first)
    {
        vlong numbers;
        for (int i = 0; i < LANES / 2; i++)
            numbers[i] = 2 * i;
        return numbers + first;
    }
    """
    vlong every_second_number(uint32_t first) noexcept nogil


cdef struct Philox:
    uint64_t[2 * ROUNDS] keys  # of each round
    uint32_t[3] counter  # its last three words; the first is the number of a block


cdef Philox philox_of(const uint32_t* key, uint32_t second, uint32_t third, uint32_t fourth) noexcept nogil:
    cdef Philox generator
    cdef int i
    for i in range(ROUNDS):
        generator.keys[2 * i] = <uint32_t>(key[0] + <uint32_t>i * 0x9E3779B9u)
        generator.keys[2 * i + 1] = <uint32_t>(key[1] + <uint32_t>i * 0xBB67AE85u)
    generator.counter[0] = second
    generator.counter[1] = third
    generator.counter[2] = fourth
    return generator


cdef inline void philox_blocks(const Philox* generator, uint32_t first, vint* words) noexcept nogil:
    """The four words of blocks first to first + LANES - 1: element i of words[j] is word j of block first + i.

    Elements of 64 bits hold a word in their low half and anything in the high one: a and b are even and odd blocks.
    """
    cdef vlong m0 = lbroadcast(0xD2511F53), m1 = lbroadcast(0xCD9E8D57)
    cdef vlong a0 = every_second_number(first), b0 = every_second_number(first + 1)
    cdef vlong a1 = lbroadcast(generator.counter[0]), a2 = lbroadcast(generator.counter[1])
    cdef vlong a3 = lbroadcast(generator.counter[2]), b1 = a1, b2 = a2, b3 = a3, p, q, k0, k1
    cdef int i
    for i in range(ROUNDS):
        k0 = lbroadcast(generator.keys[2 * i])
        k1 = lbroadcast(generator.keys[2 * i + 1])
        p = multiply_low_words(a0, m0)
        q = multiply_low_words(a2, m1)
        a0 = (q >> 32) ^ a1 ^ k0
        a2 = (p >> 32) ^ a3 ^ k1
        a1 = q
        a3 = p
        p = multiply_low_words(b0, m0)
        q = multiply_low_words(b2, m1)
        b0 = (q >> 32) ^ b1 ^ k0
        b2 = (p >> 32) ^ b3 ^ k1
        b1 = q
        b3 = p
    words[0] = interleave_low_words(a0, b0)
    words[1] = interleave_low_words(a1, b1)
    words[2] = interleave_low_words(a2, b2)
    words[3] = interleave_low_words(a3, b3)
