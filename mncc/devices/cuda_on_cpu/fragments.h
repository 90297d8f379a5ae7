/* Matrices of 16 x 16 that a warp holds together, where on_cpu.h runs kernels that multiply them on tensor cores: what the
 * PTX ISA says of `ldmatrix` and `mma`, products of float16 added up in float32.
 *
 * All lanes have to come to each. A lane reads memory as it comes, so that what other lanes have yet to write is missing:
 * nothing but a barrier makes it seen on a GPU either. */
#ifndef MNCC_CUDA_FRAGMENTS_ON_CPU_H
#define MNCC_CUDA_FRAGMENTS_ON_CPU_H

namespace cuda_on_cpu {

#define MNCC_NOT_TRACED __attribute__((no_sanitize("thread")))

/* What the lanes of the warp have published, for the length of one step of all of them. */
template <class Use> MNCC_NOT_TRACED inline void together(const void *mine, Use use) {
    const uint64_t *all = machine.published + machine.current - lane();
    machine.published[machine.current] = reinterpret_cast<uint64_t>(mine);
    wait(AT_WARP);
    use(all);
    wait(AT_WARP);
}

/* Four matrices of 8 x 8, whose rows are those that eight lanes each name; a lane gets a pair of each: of row lane / 4, or
 * transposed of column lane / 4. */
MNCC_NOT_TRACED inline void exchange_pairs(unsigned *pairs, const uint4 &row, bool transposed) {
    together(&row, [&](const uint64_t *rows) MNCC_NOT_TRACED {
        int one = lane() / 4, two = lane() % 4 * 2;
        for (int i = 0; i < 8; ++i) {
            int line = i / 2 * 8 + (transposed ? two + i % 2 : one), column = transposed ? one : two + i % 2;
            std::memcpy(reinterpret_cast<char *>(pairs) + 2 * i, reinterpret_cast<const half *>(rows[line]) + column, 2);
        }
    });
}

inline void load_fragment(unsigned *pairs, const half *row, bool transposed) {
    if (reinterpret_cast<uint64_t>(row) % 16) {
        fail("a row of a matrix is not aligned to 16 bytes");
        return;
    }
    /* Eight lanes' rows are served at once, as trace.cpp counts it. */
    uint4 own = *reinterpret_cast<const uint4 *>(row);
    exchange_pairs(pairs, own, transposed);
}

MNCC_NOT_TRACED inline void multiply_fragments(float *sums, const unsigned *left, const unsigned *right) {
    struct Given {
        float left[8], right[8];
    } mine;
    auto number = [](const unsigned *pairs, int i) MNCC_NOT_TRACED {
        half value;
        std::memcpy(&value, reinterpret_cast<const char *>(pairs) + 2 * i, 2);
        return static_cast<float>(value);
    };
    for (int i = 0; i < 8; ++i) mine.left[i] = number(left, i), mine.right[i] = number(right, i);
    together(&mine, [&](const uint64_t *all) MNCC_NOT_TRACED {
        auto given = [all](int lane) MNCC_NOT_TRACED { return reinterpret_cast<const Given *>(all[lane]); };
        for (int i = 0; i < 8; ++i) {
            int row = lane() / 4, below = i / 2 % 2, column = lane() % 4 * 2 + i % 2, right_of = i / 4;
            for (int k = 0; k < 16; ++k) {
                int holder = k % 8 / 2, part = k / 8 * 2;
                sums[i] += given(row * 4 + holder)->left[(below + part) * 2 + k % 2] *
                           given(column * 4 + holder)->right[right_of * 4 + part + k % 2];
            }
        }
    });
}

} // namespace cuda_on_cpu

#endif
