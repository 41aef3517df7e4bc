# Distortions of images of 28 by 28 bytes, affine and elastic (Simard, Steinkraus and Platt, "Best practices for
# convolutional neural networks applied to visual document analysis", 2003), drawn from seed, epoch and image alone.
#
#   noise     dx and dy: uniform in [-1, 1), one number for each pixel, from Philox
#   smooth    G @ noise @ G.T with a Gaussian G, as three products of small int16 matrices
#   source    of each pixel: the inverse of the affine map, plus alpha times the smooth noise; 1/65536 pixel
#   pixel     bilinear in the four neighbours of its source, which one table of 32-bit elements holds for every place
#
# All arithmetic is on integers, except that the affine map is drawn in doubles, without contraction: so every instruction
# set makes the same bytes. Pixels without ink around their source stay exactly 0.

cdef extern from "<math.h>" nogil:
    double floor(double x)

cdef extern from * nogil:
    int leading_zeros "__builtin_clzll"(uint64_t mask)

cdef extern from *:
    """
    static inline vint ilanes(void)
    {
        vint lanes;
        for (int i = 0; i < LANES; i++)
            lanes[i] = i;
        return lanes;
    }
    """
    vint ilanes() noexcept nogil

cdef enum:
    FIELDS = 2 * LINE  # columns of dx and dy side by side
    STREAM_AUGMENT = 1  # last word of the generator's counter, which separates the uses of its numbers; others: layers/dropout.pxi
    BLOCKS_OF_NOISE = ROW_PAIRS * 8
    INK_LINES = SIDE + 3  # with a pixel of background above and two below


cdef struct Affine:
    # The source of pixel (x, y), in 1/65536 pixel: (x0 + xx x + xy y, y0 + yx x + yy y).
    int32_t x0
    int32_t xx
    int32_t xy
    int32_t y0
    int32_t yx
    int32_t yy


cdef struct Canvas:
    # One image and what is computed of it; lines are `LINE` long and begin one pixel left of the image.
    uint8_t[INK_LINES * LINE + LANES] ink  # from line -1 on
    int32_t[(SIDE + 2) * LINE] quads  # from line -1 on: p(x, y) | p(x, y+1) << 8 | p(x+1, y) << 16 | p(x+1, y+1) << 24
    int left  # the ink lies in columns left < x < right and lines top < y < bottom
    int right
    int top
    int bottom
    int32_t[ROW_PAIRS * FIELDS] noise  # two rows in an element
    int32_t[SIDE * FIELDS] sums
    int16_t[SIDE * FIELDS] compressed  # (rank, 2, 32)
    int32_t[ROW_PAIRS * FIELDS] smoothed  # (rank / 2, 2, 32), two rows in an element
    int32_t[SIDE * FIELDS] field  # displacement of each pixel, (28, 2, 32)


cdef int32_t fixed_point(double pixels) noexcept nogil:
    return <int32_t>floor(pixels * 65536 + 0.5)


cdef inline double nested(double square, const int first) noexcept nogil:
    """1 - s/(f (f+1)) (1 - s/((f+2) (f+3)) (1 - ...)), of 12 terms, with f = `first`: a sine's or a cosine's series."""
    cdef double total = 1
    cdef int n
    for n from first + 22 >= n >= first by 2:
        total = 1 - square * (1.0 / (n * (n + 1))) * total
    return total


cdef Affine draw_affine(const Distortion* a, const Philox* generator) noexcept nogil:
    """The inverse of: scale and shear and turn about the centre of the image, then shift."""
    cdef vint words[4]
    cdef int32_t drawn[4 * LANES]
    cdef double uniform[6]
    cdef int i
    philox_blocks(generator, BLOCKS_OF_NOISE, words)
    for i in range(4):
        istore(drawn + i * LANES, words[i])
    for i in range(6):  # words of the first two blocks
        uniform[i] = (drawn[i % 4 * LANES + i // 4] + 0.5) / 2147483648.0
    cdef double right = uniform[0] * a.shift, down = uniform[1] * a.shift, angle = uniform[2] * a.rotation
    cdef double wide = 1 + uniform[3] * a.scale, high = 1 + uniform[4] * a.scale, shear = uniform[5] * a.shear
    cdef double s = angle * nested(angle * angle, 2), c = nested(angle * angle, 1)  # |angle| is at most pi
    cdef double xx = (c + shear * s) / wide, xy = (s - shear * c) / wide, yx = -s / high, yy = c / high
    cdef double centre = (SIDE - 1) / 2.0
    right += centre
    down += centre
    return Affine(
        fixed_point(centre - xx * right - xy * down), fixed_point(xx), fixed_point(xy),
        fixed_point(centre - yx * right - yy * down), fixed_point(yx), fixed_point(yy),
    )


cdef void multiply_int16(
    int m, int n, int pairs, const int32_t* a, int rs_a, const int32_t* b, int rs_b, int32_t* c
) noexcept nogil:
    """C (m, n) = A (m, 2 pairs) @ B (2 pairs, n), m a multiple of 4 and n of 2 LANES; C has rows of FIELDS."""
    cdef vint acc[8]
    cdef vint b0, b1, x
    cdef int i, j, p, r
    for j from 0 <= j < n by 2 * LANES:
        for i from 0 <= i < m by 4:
            for r in range(8):
                acc[r] = ibroadcast(0)
            for p in range(pairs):
                b0 = iload(b + p * rs_b + j)
                b1 = iload(b + p * rs_b + j + LANES)
                for r in range(4):
                    x = ibroadcast(a[(i + r) * rs_a + p])
                    acc[2 * r] = acc[2 * r] + dot_int16(x, b0)
                    acc[2 * r + 1] = acc[2 * r + 1] + dot_int16(x, b1)
            for r in range(4):
                istore(c + (i + r) * FIELDS + j, acc[2 * r])
                istore(c + (i + r) * FIELDS + j + LANES, acc[2 * r + 1])


cdef void draw_field(const Elastic* e, const Philox* generator, Canvas* canvas) noexcept nogil:
    """Noise (in units of 2^-15) compressed to `rank` rows (2^-12), smoothed along rows (2^-12), restored to 28 rows."""
    cdef vint words[4]
    cdef vint even, odd
    cdef int pair, block, i, p, at
    for pair from 0 <= pair < ROW_PAIRS by 2:
        for block from 0 <= block < 16 by LANES:
            philox_blocks(generator, 8 * pair + block, words)
            for i in range(4):
                at = pair * FIELDS + 16 * i + block
                istore(canvas.noise + at, (words[i] & <int32_t>0xFF00FF00) | 0x00800080)
                istore(canvas.noise + at + FIELDS, ((words[i] << 8) & <int32_t>0xFF00FF00) | 0x00800080)
    multiply_int16(e.rank, FIELDS, ROW_PAIRS, e.compress, ROW_PAIRS, canvas.noise, FIELDS, canvas.sums)
    for i in range(e.rank * FIELDS):
        canvas.compressed[i] = <int16_t>((canvas.sums[i] + 32768) >> 16)
    for i in range(2):
        multiply_int16(
            e.rank, LINE, ROW_PAIRS, <const int32_t*>(canvas.compressed + LINE * i), LINE, e.smooth, LINE,
            canvas.sums + LINE * i,
        )
    for p in range(e.rank // 2):
        for i from 0 <= i < FIELDS by LANES:
            even = iload(canvas.sums + 2 * p * FIELDS + i) + 16384
            odd = iload(canvas.sums + (2 * p + 1) * FIELDS + i) + 16384
            istore(canvas.smoothed + p * FIELDS + i, ((even >> 15) & 0xFFFF) | (odd >> 15 << 16))
    multiply_int16(SIDE, FIELDS, e.rank // 2, e.restore, e.rank // 2, canvas.smoothed, FIELDS, canvas.field)


cdef bint load_image(const uint8_t* image, Canvas* canvas) noexcept nogil:
    """Copy an image and find where its ink is; false if there is none."""
    cdef uint64_t found
    cdef uint32_t first, second, columns = 0, lines = 0
    cdef int y, at
    for y in range(SIDE):
        memcpy(canvas.ink + (y + 1) * LINE + 1, image + y * SIDE, SIDE)
    for y from 0 <= y < SIDE by 2:  # two lines in 64 bytes, which may not reach beyond the image
        at = min(y * SIDE, PIXELS - 64)
        found = nonzero_bytes(image + at) >> (y * SIDE - at)
        first = <uint32_t>found & 0xFFFFFFF
        second = <uint32_t>(found >> SIDE) & 0xFFFFFFF
        columns |= first | second
        lines |= <uint32_t>((first != 0) | (second != 0) << 1) << y
    if not lines:
        return False
    canvas.left = trailing_zeros(columns) - 1
    canvas.right = 64 - leading_zeros(columns)
    canvas.top = trailing_zeros(lines) - 1
    canvas.bottom = 64 - leading_zeros(lines)
    return True


cdef void make_quads(Canvas* canvas) noexcept nogil:
    """Fill `quads` for the lines from `top` to `bottom`, both included."""
    cdef const uint8_t* ink
    cdef vint above, below
    cdef int x, y
    for x from 0 <= x < LINE by LANES:
        ink = canvas.ink + (canvas.top + 1) * LINE + x
        above = widen_bytes(ink) | widen_bytes(ink + 1) << 16
        for y in range(canvas.top + 1, canvas.bottom + 2):
            ink = canvas.ink + (y + 1) * LINE + x
            below = widen_bytes(ink) | widen_bytes(ink + 1) << 16
            istore(canvas.quads + y * LINE + x, above | below << 8)
            above = below


cdef inline vint interpolate(vint quads, vint u, vint v) noexcept nogil:
    """The pixel at (u, v), in 1/65536 pixel, from the four of `quads`, by the upper 8 bits of both fractions."""
    cdef vint fraction = (u >> 8) & 255
    cdef vint weights = (fraction << 16) + (256 - fraction)
    cdef vint above = dot_int16(quads & 0x00FF00FF, weights)
    cdef vint below = dot_int16((quads >> 8) & 0x00FF00FF, weights)
    return ((above << 8) + (below - above) * ((v >> 8) & 255) + 32768) >> 16


cdef void draw_pixels(const Affine* affine, const Elastic* e, const Canvas* canvas, uint8_t* out) noexcept nogil:
    """Each pixel of `out` (784,) from its source.

    (u, v) is the source, counted from the left and the top end of the ink. Pixels are 0 at all four ends and beyond, so
    a source beyond an end is moved to one. Left of and above the ink u and v are negative, which is large if read as
    unsigned: one comparison finds the sources beyond either end.
    """
    cdef const int32_t* quads = canvas.quads + (canvas.top + 1) * LINE + canvas.left + 1
    cdef vint width = ibroadcast((canvas.right - canvas.left) * 65536), height = ibroadcast((canvas.bottom - canvas.top) * 65536)
    cdef vint down_u = ibroadcast(affine.xy), down_v = ibroadcast(affine.yy), line_u, line_v, u, v
    cdef int x, y, first, bits = e.restore_bits - 4
    cdef const int32_t* field
    for first from 0 <= first < SIDE by LANES:
        x = min(first, SIDE - LANES)
        line_u = (ilanes() + x) * affine.xx + (affine.x0 - canvas.left * 65536 + 128)
        line_v = (ilanes() + x) * affine.yx + (affine.y0 - canvas.top * 65536 + 128)
        for y in range(SIDE):
            u = line_u
            v = line_v
            line_u = line_u + down_u
            line_v = line_v + down_v
            if e.rank:
                field = canvas.field + y * FIELDS + x
                u = u + (iload(field) >> bits)
                v = v + (iload(field + LINE) >> bits)
            if not is_any_below(u, width, v, height):
                store_low_bytes(out + y * SIDE + x, ibroadcast(0))
                continue
            u = min_unsigned(u, width)
            v = min_unsigned(v, height)
            store_low_bytes(out + y * SIDE + x, interpolate(gather_elements(quads, (v >> 16 << 5) + (u >> 16)), u, v))


cdef Py_ssize_t picked_image(const Augmentation* a, Py_ssize_t row) noexcept nogil:
    """The number of a row's image; 0 if `order` was changed since it was validated."""
    cdef Py_ssize_t number = row if a.order == NULL else a.order[row]
    return number if 0 <= number < a.count else 0


cdef void distort(
    const Distortion* distortion, const Philox* generator, Canvas* canvas, const uint8_t* image, uint8_t* out
) noexcept nogil:
    """One image; the canvas's ink is 0 around it."""
    cdef Affine affine
    if not load_image(image, canvas):
        memset(out, 0, PIXELS)
        return
    affine = draw_affine(distortion, generator)
    if distortion.elastic.rank:
        draw_field(&distortion.elastic, generator, canvas)
    make_quads(canvas)
    draw_pixels(&affine, &distortion.elastic, canvas, out)


cdef inline void prefetch_bytes(const uint8_t* at, Py_ssize_t count) noexcept nogil:
    """The order of rows is random: no hardware prefetcher knows which one is next.

    Inline, because gcc removes calls of a function that does nothing but prefetch.
    """
    cdef Py_ssize_t byte
    for byte from 0 <= byte < count by 64:
        prefetch(at + byte, 0, 2)


cdef void augment_thread(void* work, int thread) noexcept nogil:
    cdef const Augmentation* a = <const Augmentation*>work
    cdef Philox generator = philox_of(a.seed, 0, a.epoch, STREAM_AUGMENT)
    cdef Canvas canvas
    cdef Py_ssize_t row, end, number
    memset(canvas.ink, 0, sizeof(canvas.ink))
    partition(a.n, 1, thread, a.team.size, &row, &end)
    while row < end:
        prefetch_bytes(a.images + picked_image(a, min(row + 1, end - 1)) * PIXELS, PIXELS)
        number = picked_image(a, row)
        generator.counter[0] = <uint32_t>number
        distort(&a.distortion, &generator, &canvas, a.images + number * PIXELS, a.out + row * PIXELS)
        row += 1


cdef void augment(Augmentation* a, int threads) noexcept nogil:
    """All rows, on so many threads."""
    run_team(&a.team, augment_thread, a, threads)


cdef void random_words(const uint32_t* key, const uint32_t* counter, Py_ssize_t n, uint32_t* out) noexcept nogil:
    """Blocks counter to counter + n - 1, in its first word, to `out` (n, 4)."""
    cdef Philox generator = philox_of(key, counter[1], counter[2], counter[3])
    cdef vint words[4]
    cdef int32_t block[4 * LANES]
    cdef Py_ssize_t first, i
    for first from 0 <= first < n by LANES:
        philox_blocks(&generator, <uint32_t>(counter[0] + first), words)
        for i in range(4):
            istore(block + i * LANES, words[i])
        for i in range(4 * min(n - first, LANES)):
            out[4 * first + i] = <uint32_t>block[i % 4 * LANES + i // 4]
