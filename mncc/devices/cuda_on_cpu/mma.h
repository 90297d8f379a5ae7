/* Found by `#include <mma.h>` in the kernels' text where on_cpu.h runs it: matrices of 16 x 16 that a warp holds together,
 * products of float16 added up in float32.
 *
 * A lane has eight elements of each, and works with no others than a GPU's might: it reads memory as it comes to a load, so
 * that what other lanes have yet to write is missing, and what a store has written is there for others only behind a
 * barrier. A lane that does not take part, or has another matrix, is an error. So is memory that is not aligned as
 * the CUDA C++ Programming Guide asks, "Warp Matrix Functions". */
#ifndef MNCC_CUDA_MMA_ON_CPU_H
#define MNCC_CUDA_MMA_ON_CPU_H

#include "cuda_fp16.h"

namespace nvcuda {
namespace wmma {

struct matrix_a;
struct matrix_b;
struct accumulator;
struct row_major;
enum layout_t { mem_row_major };

constexpr int SIDE = 16, OWN = SIDE * SIDE / cuda_on_cpu::LANES;

template <class Use, int M, int N, int K, class T, class Layout = void> struct fragment {
    static_assert(M == SIDE && N == SIDE && K == SIDE, "no other sizes are written");
    /* Eight elements of a row; NaN before anything is loaded. */
    float own[OWN];
    fragment() { std::fill(own, own + OWN, __builtin_nanf("")); }
};
template <class T> using Sums = fragment<accumulator, SIDE, SIDE, SIDE, T>;
template <class T> using Left = fragment<matrix_a, SIDE, SIDE, SIDE, T, row_major>;
template <class T> using Right = fragment<matrix_b, SIDE, SIDE, SIDE, T, row_major>;

/* Which elements a lane has is nobody's business: none near those that kernels are likely to have written with it. */
constexpr int APART = 13;
inline int owner(int part) { return (part + APART) % cuda_on_cpu::LANES; }
inline int part() { return (cuda_on_cpu::lane() + cuda_on_cpu::LANES - APART) % cuda_on_cpu::LANES; }
inline int first() { return part() * OWN; }

template <class T> inline void check(const T *memory, unsigned pitch) {
    uint64_t mine = reinterpret_cast<uint64_t>(memory) * 1024 + pitch;
    if (cuda_on_cpu::exchange(mine, 0) != mine) cuda_on_cpu::fail("the lanes of a warp mean different matrices");
    if (reinterpret_cast<uint64_t>(memory) % 32 || pitch * sizeof(T) % 16)
        cuda_on_cpu::fail("a matrix is not aligned to 32 bytes, or its rows are not to 16");
}

template <class Fragment> inline void fill_fragment(Fragment &f, float value) { std::fill(f.own, f.own + OWN, value); }

/* What these read and write is not traced: a GPU's lanes do it eight rows of 16 bytes at once, not as it is done here. */
#define MNCC_NOT_TRACED __attribute__((no_sanitize("thread")))

template <class Use, class T>
MNCC_NOT_TRACED inline void load_matrix_sync(fragment<Use, SIDE, SIDE, SIDE, T, row_major> &f, const T *memory, unsigned pitch) {
    for (int i = 0, at = first(); i < OWN; ++i, ++at) f.own[i] = memory[at / SIDE * pitch + at % SIDE].value;
    check(memory, pitch);
}

template <class T> MNCC_NOT_TRACED inline void store_matrix_sync(T *memory, const Sums<T> &f, unsigned pitch, layout_t) {
    check(memory, pitch);
    for (int i = 0, at = first(); i < OWN; ++i, ++at) memory[at / SIDE * pitch + at % SIDE] = f.own[i];
}

inline void mma_sync(Sums<float> &made, const Left<half> &a, const Right<half> &b, const Sums<float> &c) {
    struct Given {
        const float *a, *b;
    } mine{a.own, b.own};
    static_assert(SIDE == 2 * OWN, "two lanes have a row");
    auto &machine = cuda_on_cpu::machine;
    const uint64_t *all = machine.published + machine.current - cuda_on_cpu::lane();
    machine.published[machine.current] = reinterpret_cast<uint64_t>(&mine);
    cuda_on_cpu::wait(cuda_on_cpu::AT_WARP);
    float sums[OWN];
    std::copy(c.own, c.own + OWN, sums);
    for (int k = 0, row = part() / 2, half = part() % 2; k < SIDE; ++k) {
        const float left = reinterpret_cast<const Given *>(all[owner(2 * row + k / OWN)])->a[k % OWN];
        const float *right = reinterpret_cast<const Given *>(all[owner(2 * k + half)])->b;
        for (int i = 0; i < OWN; ++i) sums[i] += left * right[i];
    }
    cuda_on_cpu::wait(cuda_on_cpu::AT_WARP);
    std::copy(sums, sums + OWN, made.own);
}

} // namespace wmma
} // namespace nvcuda

#endif
